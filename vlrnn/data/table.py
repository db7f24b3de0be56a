"""Tables about a folder of images, as people have them: a CSV or a JSON whose every line names an image.

Knows no captions or questions.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vlrnn.data.image_names import ImageFolder
from vlrnn.data.prepare import SPLIT_NAMES
from vlrnn.errors import UserError
from vlrnn.files import parse_json, read_json, read_text

_OTHER_NAMES = {
    **dict.fromkeys(("file_name", "filename", "image_name"), "image"),
    **dict.fromkeys(("text", "comment"), "caption"),
}
"""What others call the columns -> what we call them: `metadata.jsonl` and `metadata.csv` of Hugging Face's image
folders, and Kaggle's `results.csv` of Flickr30k."""

_DELIMITERS = (",", ";", "|", "\t")


@dataclass(frozen=True)
class Entry:
    """A line of a CSV or an entry of a JSON: where it stands, for errors, the image, the split if it names one, and
    `values`, everything that it says by name."""

    place: str
    image: str
    split: str | None
    values: Mapping[str, Any]

    def texts(self, name: str) -> tuple[str, ...] | None:
        """The text of this name, or the list of texts of its plural; None where there is neither.

        Raises:
            UserError: what is there is no text.
        """
        value = self.values.get(f"{name}s", self.values.get(name))
        if value is None:
            return None
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise UserError(f"{self.place}: {name!r} must be a text, or {name + 's'!r} a list of texts")
        return tuple(value)


def read_table(
    path: Path, folder: ImageFolder, columns: Sequence[str], of_image: Callable[[Any], Any]
) -> Iterator[Entry]:
    """Read a file: `.json`, `.jsonl` (an object on each line), or else a CSV whose first line names the columns, which
    commas, semicolons, bars or tabs divide. In a `.tsv` a quote stands for itself, but where a pair encloses a cell.

    Args:
        path: the file.
        folder: of the images; names are relative to it, or to the folder of the file.
        columns: that a CSV must have, besides `image`.
        of_image: a JSON is a list of objects that name their `image`, or one object with a key for each image; this
            makes the list of objects about an image out of what stands under its key.

    Raises:
        UserError: the file is none of these, or has a column or a key twice; names the line or the entry.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        entries = _json_entries(path, of_image)
    elif suffix == ".jsonl":
        entries = _json_lines(path)
    else:
        entries = _csv_entries(path, ("image", *columns))
    for place, values in entries:
        renamed = {other: values[name] for name, other in _OTHER_NAMES.items() if name in values}
        values = {**renamed, **values}
        image = _image(values.get("image"), place, folder, path.parent)
        yield Entry(place, image, _split(values.get("split"), place), values)


def _csv_entries(path: Path, needed: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    text = read_text(path)
    delimiter = _delimiter(path, text, needed)
    rows = _quoted_rows(path, text, delimiter) if path.suffix.lower() != ".tsv" else _tsv_rows(text)
    columns: list[str] = []
    for number, row in rows:
        if not any(map(str.strip, row)):
            continue
        if not columns:
            columns = _columns(row, f"{path}:{number}", needed)
        elif len(row) != len(columns):
            raise UserError(
                f"{path}:{number}: {len(row)} columns where the first line has {len(columns)}; put a text with "
                f"{delimiter!r} into quotes"
            )
        else:
            yield f"{path}:{number}", dict(zip(columns, row, strict=True))
    if not columns:
        raise UserError(f"{path}: is empty; the first line must name the columns {', '.join(needed)}")


def _columns(row: Sequence[str], place: str, needed: Sequence[str]) -> list[str]:
    columns = _named(row)
    if missing := next((column for column in needed if column not in columns), None):
        raise UserError(f"{place}: no column {missing!r} (found: {', '.join(columns)}); the first line must name it")
    if twice := next((column for column in columns if columns.count(column) > 1), None):
        raise UserError(f"{place}: the column {twice!r} stands twice; leave one of the two out")
    return columns


def _named(row: Iterable[str]) -> list[str]:
    """The names of columns as we call them; another's name stays where ours stands there as well."""
    names = [name.strip().lower() for name in row]
    return [name if _OTHER_NAMES.get(name, name) in names else _OTHER_NAMES[name] for name in names]


def _delimiter(path: Path, text: str, needed: Sequence[str]) -> str:
    """What divides the columns: that by which the first line has all that are needed."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    first = next((line for line in text.splitlines() if line.strip()), "")
    for delimiter in _DELIMITERS:
        if set(needed) <= set(_named(name.strip(' "') for name in first.split(delimiter))):
            return delimiter
    return ","


def _quoted_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV, each with the number of the line that it begins in."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            raise UserError(f"{path}:{number}: not CSV: {fault}") from None
        yield number, row


def _tsv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(io.StringIO(text), start=1):
        yield number, [_unquoted(cell) for cell in line.rstrip("\r\n").split("\t")]


def _unquoted(cell: str) -> str:
    inner = cell[1:-1]
    enclosed = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if enclosed else cell


def _json_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            entry = parse_json(line, place := f"{path}:{number}")
            if not isinstance(entry, Mapping):
                raise UserError(f"{place}: expected an object, found {type(entry).__name__}")
            yield place, entry


def _json_entries(path: Path, of_image: Callable[[Any], Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    value = read_json(path)
    if isinstance(value, Mapping):
        for image, told in value.items():
            yield from _objects(of_image(told), f"{path}: {image!r}", {"image": image})
    else:
        yield from _objects(value, f"{path}", {})


def _objects(value: Any, place: str, known: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(value, list):
        raise UserError(f"{place}: expected an object or a list, found {type(value).__name__}")
    for number, entry in enumerate(value):
        if not isinstance(entry, Mapping):
            raise UserError(f"{place}: entry {number}: expected an object, found {type(entry).__name__}")
        yield f"{place}: entry {number}", {**entry, **known}


def _image(name: Any, place: str, folder: ImageFolder, beside: Path) -> str:
    if not isinstance(name, str):
        raise UserError(f"{place}: needs an 'image', a text")
    path = PurePosixPath(folder.find(name, beside))
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise UserError(f"{place}: the image {name!r} is no file within the folder of images")
    return str(path)


def _split(name: Any, place: str) -> str | None:
    if name is None or name == "":
        return None
    if not isinstance(name, str) or name.strip().lower() not in SPLIT_NAMES:
        raise UserError(f"{place}: the split {name!r} is none of {', '.join(SPLIT_NAMES)}")
    return SPLIT_NAMES[name.strip().lower()]

"""Tables about a folder of images, as people have them: a CSV or a JSON whose every line names an image.

Knows no captions or questions.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vlrnn.data.prepare import SPLIT_NAMES
from vlrnn.errors import UserError
from vlrnn.files import read_json, read_text


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


def read_table(path: Path, columns: Sequence[str], of_image: Callable[[Any], Any]) -> Iterator[Entry]:
    """Read a file: `.json`, or else a CSV (`.tsv`: with tabs) whose first line names the columns.

    Args:
        path: the file.
        columns: that a CSV must have, besides `image`.
        of_image: a JSON is a list of objects that name their `image`, or one object with a key for each image; this
            makes the list of objects about an image out of what stands under its key.

    Raises:
        UserError: the file is neither; names the line or the entry.
    """
    if path.suffix.lower() == ".json":
        entries = _json_entries(path, of_image)
    else:
        entries = _csv_entries(path, ("image", *columns))
    for place, values in entries:
        yield Entry(place, _image(values.get("image"), place), _split(values.get("split"), place), values)


def _csv_entries(path: Path, needed: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [column.strip().lower() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        for column in needed:
            if column not in columns:
                raise UserError(f"{path}:1: no column {column!r}; the first line must name the columns")
        for line in reader:
            place = f"{path}:{reader.line_num}"
            if None in line or None in line.values():
                raise UserError(f"{place}: not {len(columns)} columns; put a text with {delimiter!r} into quotes")
            yield place, line
    except csv.Error as fault:
        raise UserError(f"{path}:{reader.line_num}: not CSV: {fault}") from None


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


def _image(name: Any, place: str) -> str:
    """The name in one spelling, so that `./a.jpg` and `a.jpg` are never two images in two splits."""
    if not isinstance(name, str):
        raise UserError(f"{place}: needs an 'image', a text")
    path = PurePosixPath(name.strip())
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise UserError(f"{place}: the image {name!r} is no file within the folder of images")
    return str(path)


def _split(name: Any, place: str) -> str | None:
    if name is None or name == "":
        return None
    if not isinstance(name, str) or name.strip().lower() not in SPLIT_NAMES:
        raise UserError(f"{place}: the split {name!r} is none of {', '.join(SPLIT_NAMES)}")
    return SPLIT_NAMES[name.strip().lower()]

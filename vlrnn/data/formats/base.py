"""Shared by the readers of formats: names of splits, the report of skipped items, references, values of JSON, tables
(CSV, TSV), and image names."""

import csv
import io
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

from vlrnn.data.record_ids import Id, as_id
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.files import read_text

Splits = dict[str, list[Example]]
"""Split name -> its examples."""

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of splits in other data sets -> ours; `restval`, the rest of COCO's val, is training data."""

_NAMED = 5  # names of skipped items in a line


class SkipReport:
    """Items that were left out of a data set, by reason."""

    def __init__(self) -> None:
        self._items: dict[str, list[str]] = {}

    def add(self, reason: str, item: Id) -> None:
        """Record that an item was left out."""
        self._items.setdefault(reason, []).append(str(item))

    def counts(self) -> dict[str, int]:
        """Reason -> number of items."""
        return {reason: len(items) for reason, items in self._items.items()}

    def lines(self) -> list[str]:
        """A line for each reason, with the number of items and the names of the first few."""
        shown = {reason: items[:_NAMED] + ["..."] * (len(items) > _NAMED) for reason, items in self._items.items()}
        return [f"dropped {count:,}: {reason} ({', '.join(shown[reason])})" for reason, count in self.counts().items()]


class References(dict[Id, list[str]]):
    """Image id -> reference captions, at least one. `files`: image id -> file, if available; `notes`: a line for each
    kind of item that was left out."""

    def __init__(
        self, captions: Mapping[Id, list[str]], files: Mapping[Id, str] | None = None, notes: Sequence[str] = ()
    ) -> None:
        super().__init__(captions)
        self.files = {id: file for id, file in (files or {}).items() if id in self}
        self.notes = list(notes)

    def as_lists(self) -> "References":
        """The same references with ids converted by `as_id`: numbers where possible."""
        files = {as_id(str(id)): file for id, file in self.files.items()}
        return References({as_id(str(id)): captions for id, captions in self.items()}, files, self.notes)


# Values of JSON.


def object_of(value: Any, place: str) -> Mapping[str, Any]:
    """The value, checked to be an object."""
    if not isinstance(value, Mapping):
        raise UserError(f"{place}: expected an object, found {type(value).__name__}")
    return value


def list_in(value: Any, name: str, place: str) -> list[Any]:
    """The list of this name in an object; a UserError if there is none."""
    if not isinstance(value, Mapping) or not isinstance(listed := value.get(name), list):
        raise UserError(f"{place}: it has no list of {name}")
    return listed


def text_of(entry: Mapping[str, Any], name: str, place: str) -> str:
    """The text of this name in an object; a UserError if there is none."""
    if not isinstance(text := entry.get(name), str):
        raise _no_field(entry, name, place, "text")
    return text


def id_of(entry: Mapping[str, Any], names: Sequence[str], place: str) -> Id:
    """The id in an object: the value of the first of these fields that it has; a UserError if that is none."""
    name = next((name for name in names if name in entry), names[0])
    id = entry.get(name)
    if not isinstance(id, (int, str)) or isinstance(id, bool):
        raise _no_field(entry, name, place, "number or text")
    return id


def _no_field(entry: Mapping[str, Any], name: str, place: str, wanted: str) -> UserError:
    if name not in entry:
        return UserError(f"{place}: the field {name!r} is missing")
    return UserError(f"{place}: {name!r} is a {type(entry[name]).__name__}, not a {wanted}")


# Tables.

_DELIMITERS = (",", ";", "|", "\t")

Naming = Callable[[Sequence[str]], Sequence[str]]
"""Maps the names of columns, in lower case, to ours."""


def read_csv(
    path: str | Path, allowed: Collection[str], needed: Collection[str] = (), named: Naming = list
) -> Iterator[tuple[str, dict[str, str]]]:
    """Place (`file:line` of its beginning) and cells, by column, of each row of a table. The first line names the
    columns, in any case. Blank rows are skipped.

    The delimiter is the one of comma, semicolon, bar and tab that gives the first line most of the allowed columns. In
    a `.tsv` it is the tab, and quotes are literal unless a pair encloses a cell.

    Args:
        path: the file.
        allowed: columns that a table may have.
        needed: those of them that it must have.
        named: renames columns.

    Raises:
        UserError: the file cannot be read, is no CSV, lacks a column or has one twice, or a row has more cells than the
            first line, or fewer.
    """

    def columns_of(cells: Sequence[str]) -> list[str]:
        return list(named([cell.strip().lower() for cell in cells]))

    path, text = Path(path), read_text(path)
    is_tsv = path.suffix.lower() == ".tsv"
    delimiter = "\t" if is_tsv else _delimiter(text, lambda cells: len(set(columns_of(cells)) & set(allowed)))
    columns: list[str] = []
    for number, cells in _rows(path, text, delimiter, is_tsv):
        place = f"{path}:{number}"
        if not any(map(str.strip, cells)):
            continue
        if not columns:
            columns = columns_of(cells)
            if missing := next((column for column in needed if column not in columns), None):
                found = ", ".join(columns)
                raise UserError(f"{place}: no column {missing!r} (found: {found}); the first line must name it")
            if len(set(columns)) < len(columns):
                twice = max(columns, key=columns.count)
                raise UserError(f"{place}: the column {twice!r} occurs twice; remove one of them")
        elif len(cells) != len(columns):
            raise UserError(
                f"{place}: {len(cells)} columns where the first line has {len(columns)}; put a text with "
                f"{delimiter!r} into quotes"
            )
        else:
            yield place, dict(zip(columns, cells, strict=True))
    if needed and not columns:
        raise UserError(f"{path}: is empty; the first line must name the columns {', '.join(needed)}")


def _delimiter(text: str, count_matches: Callable[[Sequence[str]], int]) -> str:
    """The delimiter with the highest score for the first line."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=lambda delimiter: count_matches([name.strip(' "') for name in first.split(delimiter)]))


def _rows(path: Path, text: str, delimiter: str, is_tsv: bool) -> Iterator[tuple[int, list[str]]]:
    """The rows, each with the number of its first line."""
    if is_tsv:
        for number, line in enumerate(io.StringIO(text), start=1):
            yield number, [_unquoted(cell) for cell in line.rstrip("\r\n").split("\t")]
        return
    reader, number = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), 1
    try:
        for row in reader:
            yield number, row
            number = reader.line_num + 1
    except csv.Error as fault:
        raise UserError(f"{path}:{number}: not CSV: {fault}") from None


def _unquoted(cell: str) -> str:
    inner = cell[1:-1]
    enclosed = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if enclosed else cell


class ImageFolder:
    """A folder of images, in which files are found by the names of a data set.

    Also found are names with backslashes, absolute paths below the folder, and names in another Unicode normal form
    (macOS decomposes accents, most other systems do not).

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[str, str] | None = None

    def find(self, name: str, base: Path | None = None) -> str:
        """The normalised path of an image relative to the folder (`./a.jpg` and `a.jpg` are one image); for a file that
        does not exist, the given name in this form.

        Args:
            name: of the image.
            base: another folder, within this one, that names may be relative to.
        """
        name = name.strip()
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            if (path := self._relative(spelling)) is None:
                continue
            places, root = [path], self.root.resolve()
            if base is not None and base.resolve().is_relative_to(root):
                places.append((base.resolve().relative_to(root) / path).as_posix())
            for place in places:
                if (self.root / place).is_file():
                    return place
                if found := self._by_normal_form(place):
                    return found
        return self._relative(name) or str(PurePosixPath(name))

    def _relative(self, name: str) -> str | None:
        """A name relative to the folder; None if it is outside."""
        path = PurePosixPath(name)
        if not path.is_absolute():
            return str(path)
        for root in (self.root.absolute(), self.root.resolve()):
            if path.is_relative_to(root.as_posix()):
                return str(path.relative_to(root.as_posix()))
        return None

    def _by_normal_form(self, path: str) -> str | None:
        """The file with the same name in another Unicode normal form."""
        if path.isascii():
            return None
        if self._files is None:
            found = (
                os.path.relpath(os.path.join(folder, file), self.root)
                for folder, _, files in os.walk(self.root)
                for file in files
            )
            self._files = {normalize("NFC", file): Path(file).as_posix() for file in found if not file.isascii()}
        return self._files.get(normalize("NFC", path))

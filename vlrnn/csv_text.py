"""CSV that people write: whatever divides its columns, read so that an error names file and line."""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from vlrnn.errors import UserError
from vlrnn.files import read_text

_DELIMITERS = (",", ";", "|", "\t")

Naming = Callable[[Sequence[str]], Sequence[str]]
"""The names of columns in lower case -> what they are called."""


def read_csv(
    path: str | Path, allowed: Collection[str], needed: Collection[str] = (), named: Naming = list
) -> Iterator[tuple[str, dict[str, str]]]:
    """Place (`file:line`, where it begins) and cells of each row of a table, by the columns, which its first line names
    in any case. Rows without any text are passed over.

    Commas, semicolons, bars or tabs divide the columns: that by which the first line has most of the allowed columns.
    In a `.tsv` it is the tab, and a quote stands for itself, but where a pair encloses a cell.

    Args:
        path: the file.
        allowed: columns that a table may have.
        needed: of them, those that it must have.
        named: calls columns otherwise.

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
    for number, cells in _tsv_rows(text) if is_tsv else _quoted_rows(path, text, delimiter):
        place = f"{path}:{number}"
        if not any(map(str.strip, cells)):
            continue
        if not columns:
            columns = columns_of(cells)
            _check(columns, needed, place)
        elif len(cells) != len(columns):
            raise UserError(
                f"{place}: {len(cells)} columns where the first line has {len(columns)}; put a text with "
                f"{delimiter!r} into quotes"
            )
        else:
            yield place, dict(zip(columns, cells, strict=True))
    if needed and not columns:
        raise UserError(f"{path}: is empty; the first line must name the columns {', '.join(needed)}")


def _check(columns: Sequence[str], needed: Collection[str], place: str) -> None:
    if missing := next((column for column in needed if column not in columns), None):
        raise UserError(f"{place}: no column {missing!r} (found: {', '.join(columns)}); the first line must name it")
    if len(set(columns)) < len(columns):
        twice = max(columns, key=columns.count)
        raise UserError(f"{place}: the column {twice!r} stands twice; leave one of the two out")


def _delimiter(text: str, count_matches: Callable[[Sequence[str]], int]) -> str:
    """What divides the columns: the delimiter by which the first line scores highest."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=lambda delimiter: count_matches([name.strip(' "') for name in first.split(delimiter)]))


def _quoted_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows, each with the number of the line that it begins in."""
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

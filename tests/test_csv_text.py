"""Tables that people write, in every form that spreadsheets and programs give them, by whatever reads them."""

import csv
import io
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import pytest

from vlrnn.data.formats.answers import read_answers
from vlrnn.data.formats.base import ImageFolder, read_csv
from vlrnn.data.formats.captions import read_predictions
from vlrnn.data.formats.table import read_captions, read_questions
from vlrnn.errors import UserError
from vlrnn.probes.labels import read_labels

Rows = Sequence[Sequence[str]]
TEXTS = ["a red cat", "a cat, red; or | not", 'a 5" cat', '"red" cat', "two\nlines", "'t is", "été 猫", "\ttab", "a"]


def _captions(path: Path) -> list[str]:
    splits = read_captions(path, ImageFolder(path.parent), (1, 0, 0), 0)
    return [caption for examples in splits.values() for each in examples for caption in each.captions]


def _questions(path: Path) -> list[str]:
    splits = read_questions(path, ImageFolder(path.parent), (1, 0, 0), 0)
    return [str(each.question) for examples in splits.values() for each in examples]


READERS: dict[str, tuple[Callable[[Path], list[str]], list[str]]] = {
    "captions of a folder": (_captions, ["Image", "Caption"]),
    "questions of a folder": (_questions, ["image", "question", "answer"]),
    "predicted captions": (lambda path: [each.text for each in read_predictions(path)], ["image_id", "caption"]),
    "predicted answers": (lambda path: [each.text for each in read_answers(path)], ["Question_ID", "ANSWER"]),
    "labels": (
        lambda path: [name for each in read_labels(path, False) for name in each.true.attributes],
        ["id", "attributes", "tasks"],
    ),
}


def rows_of(columns: Sequence[str], texts: Sequence[str]) -> Rows:
    return [columns, *([f"{number}.png", text, "x"][: len(columns)] for number, text in enumerate(texts))]


def written(path: Path, rows: Rows, delimiter: str, quoting: int = csv.QUOTE_MINIMAL) -> Path:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    path.write_text("\ufeff" + file.getvalue(), encoding="utf-8", newline="")
    return path


def test_whatever_divides_the_columns(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for quoting, delimiter, reader in product([csv.QUOTE_MINIMAL, csv.QUOTE_ALL], ",;|\t", READERS):
        with subtests.test(quoting=quoting, delimiter=delimiter, reader=reader):
            tmp_path = tmp_path_factory.mktemp("case")
            read, columns = READERS[reader]
            texts = [
                text for text in TEXTS if ";" not in text or reader != "labels"
            ]  # there it divides what is in a cell
            found = read(written(tmp_path / "table.csv", rows_of(columns, texts), delimiter, quoting))
            assert [" ".join(text.split()) for text in found] == [" ".join(text.split()) for text in texts]


def test_a_quote_in_a_tsv_is_a_quote(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for reader in [name for name in READERS if name != "labels"]:
        with subtests.test(reader=reader):
            tmp_path = tmp_path_factory.mktemp("case")
            read, columns = READERS[reader]
            texts = ['"red" cat', 'a 5" cat', 'cat "red"', '"', "plain"]
            path = tmp_path / "table.TSV"
            path.write_text("".join("\t".join(row) + "\n" for row in rows_of(columns, texts)), encoding="utf-8")
            assert read(path) == texts
            path.write_text("\t".join(columns) + "\n" + "\t".join(['"a"', '"x ""y"""', "z"][: len(columns)]) + "\n")
            assert read(path) == ['x "y"']


FAULTS = {
    "a doubled column": (lambda rows: [[*row, row[1]] for row in rows], 1, "occurs twice"),
    "a short row": (lambda rows: [*rows[:3], rows[3][:1], *rows[4:]], 5, "1 columns where the first line has"),
    "a long row": (lambda rows: [*rows[:3], [*rows[3], "more"], *rows[4:]], 5, "columns where the first line has"),
}


def test_faults_are_reported_with_their_line(
    subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also behind a text of two lines."""
    for fault, reader in product(FAULTS, READERS):
        with subtests.test(fault=fault, reader=reader):
            tmp_path = tmp_path_factory.mktemp("case")
            read, columns = READERS[reader]
            change, line, printed = FAULTS[fault]
            path = written(tmp_path / "table.csv", change(rows_of(columns, ["two\nlines", "b", "c", "d"])), ",")
            with pytest.raises(UserError, match=rf"^\S+table\.csv:{line}: .*{printed}"):
                read(path)


def test_what_is_no_csv_and_what_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('a,b\n1,"two\n')
    with pytest.raises(UserError, match=r"table\.csv:2: not CSV"):
        list(read_csv(path, "ab"))
    path.write_text("\n \n,\n")
    assert list(read_csv(path, "ab")) == []
    with pytest.raises(UserError, match="is empty; the first line must name the columns b"):
        list(read_csv(path, "ab", "b"))
    path.write_text("a,c\n1,2\n")
    with pytest.raises(UserError, match=r"table\.csv:1: no column 'b' \(found: a, c\)"):
        list(read_csv(path, "ab", "b"))

"""Files of predictions in any format with ids and texts: our records, official results, tables. For captions and
answers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlrnn.data.formats.base import id_of, object_of, read_csv, text_of
from vlrnn.data.matching import name_some
from vlrnn.data.records import Id, Prediction, as_record
from vlrnn.errors import UserError
from vlrnn.files import parse_json, plain_cell, read_json_lines, read_text

_MARKUP = re.compile(r"</?[a-z]\w{0,20}/?>|<\|.{0,40}?\|>|\[(?:CLS|SEP|PAD|EOS|BOS|UNK|MASK|INST)\]", re.IGNORECASE)


@dataclass(frozen=True)
class ResultForm:
    """The format of official results.

    Attributes:
        ids: possible fields of the id; the first that exists is used.
        texts: possible fields of the text.
        what: name of a text in errors: `caption`.
        file: description of an official file, for errors.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    what: str
    file: str


def read_results(path: str | Path, form: ResultForm) -> list[Prediction]:
    """Predictions, in the order of the file.

    Args:
        path: JSON lines (`.jsonl`); JSON, a list of objects, or an object id -> text, or id -> a list of one text; or a
            table (`.csv`, `.tsv`) whose first line names the columns. An object is a Prediction, or an official result.
            In a table with the column `rank`, the rows after rank 1 are the alternatives.
        form: the format of official results.

    Raises:
        UserError: the file is none of these, is empty, or an entry lacks its id or text; names the place.
    """
    path = Path(path)
    if path.suffix.lower() in (".csv", ".tsv"):
        predictions = _of_table(path, form)
    else:
        predictions = [_prediction(entry, place, form) for place, entry in _objects(path, form)]
    if not predictions:
        raise UserError(f"{path}: holds no predictions")
    return predictions


def texts_of(value: Any, place: str, what: str) -> list[str]:
    """The texts of an entry of a dictionary: a text, a list of texts, or a list of objects with the field `what`.

    Raises:
        UserError: it is none of these.
    """
    listed = value if isinstance(value, list) else [value]
    found = [each.get(what) if isinstance(each, dict) else each for each in listed]
    texts = [text for text in found if isinstance(text, str)]
    if len(texts) < len(found):
        raise UserError(f"{place}: expected a {what}, a list of texts, or of objects with a {what!r} that is text")
    return texts


def note_markup(texts: Mapping[Id, str]) -> list[str]:
    """A note if predictions contain special tokens of a tokenizer (`</s>`), which are scored as words."""
    if not (marked := [id for id, text in texts.items() if _MARKUP.search(text)]):
        return []
    return [
        f"{len(marked)} predictions hold markup such as {_MARKUP.findall(texts[marked[0]])[0]}, scored as words: "
        f"{name_some(marked)}; leave it out when decoding"
    ]


def _objects(path: Path, form: ResultForm) -> Iterator[tuple[str, Any]]:
    """Place and value of each entry of JSON."""
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        yield from read_json_lines(path)
        return
    text = read_text(path)
    first, _, rest = text.strip().partition("\n")
    if first.startswith("{") and first.rstrip().endswith("}") and rest:
        yield from read_json_lines(path)  # whatever it is called
        return
    value = parse_json(text, str(path)) if first else []
    fields = value.keys() if isinstance(value, dict) else set()
    if fields & set(form.ids) and fields & set(form.texts):
        yield str(path), value  # a single line
    elif isinstance(value, dict) and fields.isdisjoint((*form.ids, *form.texts)):
        for id, given in value.items():
            place = f"{path}: {id!r}"
            texts = texts_of(given, place, form.texts[0])
            if len(texts) != 1:
                raise UserError(f"{place}: has {len(texts)} texts, but one {form.what} is expected")
            yield place, {form.ids[0]: id, form.texts[0]: texts[0]}
    elif isinstance(value, list):
        yield from ((f"{path}: result {number}", entry) for number, entry in enumerate(value))
    else:
        raise UserError(f"{path}: no predictions: expected a .jsonl, a .csv, or {form.file}")


def _prediction(entry: Any, place: str, form: ResultForm) -> Prediction:
    entry = object_of(entry, place)
    if "text" in entry and "image_id" in entry and entry.keys().isdisjoint(form.texts):
        return as_record(Prediction, entry, place)
    id = id_of(entry, form.ids, place)
    name = next((name for name in (*form.texts, "text") if name in entry), form.texts[0])
    return Prediction(id=id, image_id=id, text=text_of(entry, name, place))


def _of_table(path: Path, form: ResultForm) -> list[Prediction]:
    predictions: list[Prediction] = []
    spellings = {name.lower(): name for name in (*form.ids, *form.texts)}
    rows = read_csv(path, spellings.values(), named=lambda columns: [spellings.get(name, name) for name in columns])
    for place, cells in rows:
        row = {name: plain_cell(cell) for name, cell in cells.items()}
        one = _prediction(row, place, form)
        score, rank = (_number(row.get(name), name, place) for name in ("score", "rank"))
        if rank in (None, 1):
            predictions.append(replace(one, score=score))
        elif predictions and predictions[-1].id == one.id:
            others = (*predictions[-1].alternatives, {"text": one.text, "score": score})
            predictions[-1] = replace(predictions[-1], alternatives=others)
        else:
            raise UserError(f"{place}: rank {row['rank']} of {one.id!r} has no rank 1 before it")
    return predictions


def _number(cell: Any, name: str, place: str) -> float | None:
    if not cell:
        return None
    try:
        return float(cell)
    except ValueError:
        raise UserError(f"{place}: the {name} {cell!r} is no number") from None

"""The records of prepared data sets and of predictions, and the files that hold them.

A prepared data set is a folder with `dataset.json` and, where they exist, `train.jsonl`, `val.jsonl`, `test.jsonl`, an
`Example` a line. A model's output is `predictions.jsonl`, a `Prediction` a line. Independent of tensors and models.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vlrnn.data.record_ids import Id, check_each_once, check_images
from vlrnn.errors import UserError, accessing
from vlrnn.files import parse_json, read_json, replacing, write_json
from vlrnn.sidecar_cache import cached_arrays
from vlrnn.terminal import html_table

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Example:
    """One line of a split: an image with its captions, or a question with its answers.

    `image` is a path relative to the data set's folder (or to `image_root`). `objects` are the names of the objects in
    the image, where annotated; `attributes` are further annotations of the source.
    """

    id: Id
    image_id: Id
    image: str
    captions: tuple[str, ...] = ()
    question: str | None = None
    answers: tuple[str, ...] = ()
    question_type: str | None = None
    answer_type: str | None = None
    objects: tuple[str, ...] | None = None
    attributes: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ScoredExample(Example):
    """One line of `items.jsonl`: an example, and the scores of its prediction.

    `scores`: the one that items are ranked by first; empty where the example has no references. `bleu_statistics` of
    captions, from which BLEU of many images is computed: n-grams (n = 1 to 4) that also stand in a reference, all
    n-grams, words, and words of the closest reference.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    bleu_statistics: tuple[int, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """A model's output for one example.

    `tokens` are without `<eos>`; `log_probs` are the natural log probabilities of the tokens and, last, of `<eos>`
    where it was generated. `score` is that of the search for captions, and described by `score_name` for answers.
    `alternatives` are the other hypotheses, best first, as `{"text", "score"}`. `settings` are those of the generation.
    """

    id: Id
    image_id: Id
    text: str
    tokens: tuple[str, ...] = ()
    log_probs: tuple[float, ...] = ()
    score: float | None = None
    alternatives: tuple[Mapping[str, Any], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def score_name(self) -> str:
        """The meaning of `score`: from the settings, else that of a search; `score` if there are no settings."""
        penalty = self.settings.get("length_penalty")
        searched = "score" if penalty is None else "log probability" + (f" / length^{penalty}" if penalty else "")
        return str(self.settings.get("score", searched))

    def _repr_html_(self) -> str:
        others = ((each["text"], each["score"]) for each in self.alternatives)
        return html_table([(self.image_id, self.score_name), (self.text, self.score), *others])


@dataclass(frozen=True)
class AttentionMaps:
    """Attention of a decoder for the T tokens of the prediction of this `id`, its `<eos>` included where generated.

    `peaks` [T] are the largest weights; `maps` is the base64 of T * N bytes, the weights of the regions, row by row of
    the grid, scaled to 0..255 by the peak of their token; `gates` [T] in 0..1 scale the attended features, and are
    empty for a decoder without such a gate.
    """

    id: Id
    peaks: tuple[float, ...]
    maps: str
    gates: tuple[float, ...] = ()


Record = TypeVar("Record", Example, ScoredExample, Prediction, AttentionMaps)


def _list_of(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and set(map(type, value)).issubset(kinds)


_ID = (lambda value: isinstance(value, (int, str)) and not isinstance(value, bool), "a whole number or text")
_NUMBER = (lambda value: isinstance(value, (int, float)) and not isinstance(value, bool), "a number")
_TEXT = (lambda value: isinstance(value, str), "a text")
_OBJECT = (lambda value: isinstance(value, dict), "an object")
_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("id", "image_id"), _ID),
    **dict.fromkeys(("image", "text", "question", "question_type", "answer_type", "maps"), _TEXT),
    **dict.fromkeys(("captions", "answers", "objects", "tokens"), (_list_of(str), "a list of texts")),
    **dict.fromkeys(("attributes", "settings"), _OBJECT),
    **dict.fromkeys(("log_probs", "peaks", "gates"), (_list_of(int, float), "a list of numbers")),
    "score": _NUMBER,
    "scores": (lambda value: isinstance(value, dict) and all(map(_NUMBER[0], value.values())), "an object of numbers"),
    "bleu_statistics": (lambda value: _list_of(int)(value) and len(value) == 10, "a list of 10 whole numbers"),
    "alternatives": (_list_of(dict), "a list of objects"),
}

# Field -> its default; MISSING where a line must have it.
_DEFAULTS: dict[type, dict[str, Any]] = {
    kind: {it.name: it.default if it.default_factory is MISSING else it.default_factory() for it in fields(kind)}
    for kind in (Example, ScoredExample, Prediction, AttentionMaps)
}


def parse_record(kind: type[Record], line: str, place: str) -> Record:
    """Parse one line as a record; `place` (`file:line`) is named in errors.

    Raises:
        UserError: no JSON object, or a field that is missing, unknown or of a wrong type.
    """
    return as_record(kind, parse_json(line, place), place)


def as_record(kind: type[Record], record: Any, place: str) -> Record:
    """Convert a JSON value, which is modified, to a record; `place` and errors as of `parse_record`."""
    if not isinstance(record, dict):
        raise UserError(f"{place}: expected a JSON object, found {type(record).__name__}")
    defaults = _DEFAULTS[kind]
    for name, default in defaults.items():
        if name not in record:
            if default is MISSING:
                raise UserError(f"{place}: the field {name!r} is missing")
        elif not (record[name] is default is None or _TYPES[name][0](record[name])):
            raise UserError(f"{place}: {name!r} must be {_TYPES[name][1]}")
        elif isinstance(record[name], list):
            record[name] = tuple(record[name])
    if unknown := record.keys() - defaults.keys():
        raise UserError(f"{place}: unknown field {sorted(unknown)[0]!r}")
    return kind(**record)


def to_line(record: Example | Prediction | AttentionMaps) -> str:
    """One JSON line, without fields that have their default value."""
    defaults = _DEFAULTS[type(record)]
    given = {name: value for name, default in defaults.items() if (value := getattr(record, name)) != default}
    return json.dumps(given, ensure_ascii=False)


def write_records(path: str | Path, records: Iterable[Example | Prediction | AttentionMaps]) -> int:
    """Write records as JSON lines, replacing the file atomically; returns their number."""
    count = 0
    with replacing(path) as file:
        for record in records:
            file.write(to_line(record) + "\n")
            count += 1
    return count


class RecordFile(Sequence[Record]):
    """A `.jsonl` file as a sequence that stores one offset per line (8 bytes) in memory. The file is opened for each
    access, so that the object can be pickled and used in forked processes.

    Args:
        path: the file.
        kind: class of the records.
        keep: store the offsets in a sidecar cache.
    """

    def __init__(self, path: str | Path, kind: type[Record], keep: bool = False) -> None:
        self.path = Path(path)
        self.kind: type[Record] = kind
        self._starts = cached_arrays(self.path, "lines", self._index)["starts"] if keep else self._index()["starts"]

    def _index(self) -> dict[str, np.ndarray]:
        with accessing(self.path), self.path.open("rb") as file:
            ends = np.cumsum(np.fromiter(map(len, file), dtype=np.int64))
        return {"starts": np.concatenate([np.zeros(1, np.int64), ends])}

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        with self.path.open("rb") as file:
            file.seek(int(self._starts[index]))
            return self._parse(file.readline(), index)

    def __iter__(self) -> Iterator[Record]:
        with self.path.open("rb") as file:
            for index, line in enumerate(file):
                yield self._parse(line, index)

    def _parse(self, line: bytes, index: int) -> Record:
        place = f"{self.path}:{index + 1}"
        try:
            return parse_record(self.kind, line.decode("utf-8-sig"), place)
        except UnicodeDecodeError:
            raise UserError(f"{place}: not UTF-8 text") from None


def open_split(folder: str | Path, split: str) -> RecordFile[Example]:
    """The examples of one split of a prepared data set.

    Raises:
        UserError: the folder is no prepared data set, or has no such split; lists those that it has.
    """
    describe_dataset(folder)
    path = Path(folder) / f"{split}.jsonl"
    if not path.is_file():
        present = [name for name in SPLITS if path.with_name(f"{name}.jsonl").is_file()]
        raise UserError(f"{folder}: has no split {split!r}; it has {', '.join(present) or 'none'}")
    return RecordFile(path, Example, keep=True)


def describe_dataset(folder: str | Path) -> dict[str, Any]:
    """The contents of `dataset.json`: name, source, licence, counts.

    Raises:
        UserError: the folder is no prepared data set.
    """
    path = Path(folder) / "dataset.json"
    if not path.is_file():
        raise UserError(f"{folder}: not a prepared data set (no dataset.json); make one with vlrnn prepare")
    description = read_json(path)
    if not isinstance(description, dict):
        raise UserError(f"{path}: expected a JSON object")
    return description


def write_dataset(
    folder: str | Path,
    splits: Mapping[str, Sequence[Example]],
    *,
    name: str,
    source: str,
    licence: str,
    test_shares_images: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """Write a prepared data set: the split files, then `dataset.json`, whose contents are returned.

    Args:
        folder: target, created if absent. Split files of an earlier preparation that are not in `splits` are removed.
        splits: split name -> examples.
        name, source, licence: entries of `dataset.json`, followed by `more`.
        test_shares_images: test may share images with train and val, as in VQA-CP, which is split by answers; their
            number is stored in `dataset.json`. Train and val never share images.

    Raises:
        UserError: an image, by id or file, is in two splits; an id occurs twice in a split, or has two files.
    """
    folder = Path(folder)
    if unknown := next((split for split in splits if split not in SPLITS), None):
        raise UserError(f"{folder}: a split is one of {', '.join(SPLITS)}, not {unknown!r}")
    images = {split: [(each.image_id, each.image) for each in examples] for split, examples in splits.items()}
    shared = check_images(images, test_shares_images)
    for split, examples in splits.items():
        ids = [each.id for each in examples]
        check_each_once(ids, ids.__getitem__, f"the split {split}")
    counts = {}
    for split in SPLITS:
        if split in splits:
            write_records(folder / f"{split}.jsonl", splits[split])
            counts[split] = _counts(splits[split])
        else:
            (folder / f"{split}.jsonl").unlink(missing_ok=True)
    description = {"name": name, "source": source, "licence": licence, "counts": counts, **more}
    if test_shares_images:
        description["images_shared_with_test"] = len(shared)
    write_json(folder / "dataset.json", description)
    return description


def _counts(examples: Sequence[Example]) -> dict[str, int]:
    counts = {"examples": len(examples), "images": len({example.image_id for example in examples})}
    if questions := sum(example.question is not None for example in examples):
        return {**counts, "questions": questions, "answers": sum(len(example.answers) for example in examples)}
    return {**counts, "captions": sum(len(example.captions) for example in examples)}

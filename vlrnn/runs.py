"""The results in a run folder, of each split by itself. Independent of tasks and pages.

    RUN/metrics.json, predictions.jsonl, attention.jsonl, items.jsonl     of the split that was scored last
    RUN/splits/NAME/                                                      the same files, of the split NAME
    RUN/splits/NAME.old/                      of its last scores, while newer predictions have none

A run folder of older form has no `splits`: its only results are those of the split that `settings.split` names.
"""

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlrnn.data.records import AttentionMaps, Example, Prediction, Record, RecordFile, ScoredExample, write_records
from vlrnn.errors import UserError
from vlrnn.files import is_aside, read_json, replacing, write_json

PREFERRED = ("test", "val", "train")
"""The order in which splits are read where none is named."""

_METRICS, _PREDICTIONS, _ATTENTION, _ITEMS = "metrics.json", "predictions.jsonl", "attention.jsonl", "items.jsonl"
_FILES = {Prediction: _PREDICTIONS, AttentionMaps: _ATTENTION, ScoredExample: _ITEMS}
_OBJECTS = ("scores", "settings", "baselines", "not_computed", "details", "provenance")
_LISTS = ("cases", "notes")
_COMMANDS = {"val": "vlrnn validate", "test": "vlrnn test"}


@dataclass(frozen=True)
class SplitResults:
    """The results of one split.

    Attributes:
        folder: where its files are.
        metrics: the contents of its `metrics.json`.
        newer: why newer predictions of the split, which are not these, have no scores; empty where there are none.
    """

    folder: Path
    metrics: Mapping[str, Any]
    newer: str = ""

    @property
    def split(self) -> str:
        """The split's name; empty where the results do not name it."""
        return str(self.metrics["settings"].get("split", ""))

    @property
    def predictions(self) -> Path:
        return self.folder / _PREDICTIONS

    @property
    def references(self) -> Path | None:
        """The file of the examples with their references; None of a run of older form."""
        return path if (path := self.folder / _ITEMS).is_file() else None

    def records(self, kind: type[Record]) -> Sequence[Record]:
        """Its predictions, attention maps, or scored examples; none where there is no file."""
        path = self.folder / _FILES[kind]
        return RecordFile(path, kind) if path.is_file() else ()

    @property
    def not_scored(self) -> str:
        """Why there are no scores; empty where there are."""
        return "" if self.metrics["scores"] else str(self.metrics["settings"].get("not_computed") or "no scores")


def read_result(path: Path) -> dict[str, Any]:
    """Read a file of results.

    Raises:
        UserError: it is none.
    """
    result = read_json(path)
    if not isinstance(result, dict) or not {"scores", "settings"} <= result.keys():
        raise UserError(f'{path}: expected {{"scores": {{...}}, "settings": {{...}}}}')
    for kind, expected, names in ((dict, "an object", _OBJECTS), (list, "a list", _LISTS)):
        for name in names:
            if not isinstance(result.get(name, kind()), kind):
                raise UserError(f"{path}: {name!r} must be {expected}")
    if not all(isinstance(case, dict) for case in result.get("cases", ())):
        raise UserError(f"{path}: each of 'cases' must be an object")
    for name in ("data", "dataset", "split", "image_root"):
        if not isinstance(result["settings"].get(name, ""), str):
            raise UserError(f"{path}: settings: {name!r} must be a text")
    return result


# Reading.


def read_splits(run: Path) -> dict[str, SplitResults]:
    """The results of each split, by its name; those that name no split by an empty name. In the order of `PREFERRED`.

    Raises:
        UserError: a `metrics.json` is not one; names the file.
    """
    found = {split: each for split in PREFERRED if (each := _read_split(run, split))}
    if (run / _METRICS).is_file():
        last = SplitResults(run, read_result(run / _METRICS))
        found.setdefault(last.split, last)
    return {split: found[split] for split in (*PREFERRED, *found) if split in found}


def _read_split(run: Path, split: str) -> SplitResults | None:
    """The newest results of a split that have scores, else the newest; None where `splits` has none."""
    found = []
    for folder in (run / "splits" / split, run / "splits" / f"{split}.old"):
        if (folder / _METRICS).is_file():
            result = read_result(folder / _METRICS)
            found.append(SplitResults(folder, {**result, "settings": {**result["settings"], "split": split}}))
    for each in found:
        if not each.not_scored:
            return replace(each, newer=found[0].not_scored)
    return found[0] if found else None


def choose_split(run: str | Path, split: str | None = None, others: Collection[tuple[str, str]] = ()) -> SplitResults:
    """The results of a split of a run.

    Args:
        run: the run folder.
        split: its name. By default it is the first that has scores: of those that `others` names, then of `PREFERRED`;
            where none has, the first that has predictions.
        others: (data set, split) that other runs were scored on.

    Raises:
        UserError: the folder has no results, or none of the split.
    """
    run = Path(run)
    found = read_splits(run)
    if not found:
        raise UserError(f"{run}: not a scored run: it has no {_METRICS}; run vlrnn test or validate first")
    if split is None:
        scored = [each for each in found.values() if not each.not_scored]
        same = [each for each in scored if (each.metrics["settings"].get("data"), each.split) in others]
        return next(iter([*same, *scored, *found.values()]))
    if split not in found:
        available = " and ".join(filter(None, found)) or "a split without a name"
        command = _COMMANDS.get(split, "vlrnn validate or test")
        raise UserError(
            f"{run}: {split} was not scored, only {available}; run {command} first, or give another --split"
        )
    return found[split]


def not_yet_scored(run: Path, split: str) -> SplitResults:
    """The results of a split of a run that was trained, and nothing else: none."""
    reason = f"{_COMMANDS.get(split, 'vlrnn validate')} {run} gives scores"
    return SplitResults(run, {"scores": {}, "settings": {"split": split, "not_computed": reason}})


def predictions_file(run: str | Path, split: str) -> Path:
    """The file of the predictions on a split. A folder that has no results but predictions has those of any split.

    Raises:
        UserError: it has results, but none of the split.
    """
    run = Path(run)
    return choose_split(run, split).predictions if read_splits(run) else run / _PREDICTIONS


def is_scored(run: Path, split: str | None = None) -> bool:
    """Whether a split of a run, or where none is named any, has scores."""
    return any(not each.not_scored for each in read_splits(run).values() if split in (None, each.split))


def not_shown(run: Path, split: str) -> dict[str, str]:
    """Of val, test and every other split with results, but the one that is shown: why it has no scores; empty text
    where it has."""
    found = read_splits(run)
    names = dict.fromkeys(("val", "test", *filter(None, found)))
    return {
        name: found[name].not_scored if name in found else f"{_COMMANDS[name]} was not run"
        for name in names
        if name != split
    }


def baselines(run: Path, settings: Mapping[str, Any]) -> dict[Path, Mapping[str, Any]]:
    """The folders of a run's baselines, `RUN-*` beside it, that were scored on the same examples, and their scores.

    Args:
        run: the run folder.
        settings: of the run's own scores.
    """
    found: dict[Path, Mapping[str, Any]] = {}
    for folder in sorted(run.parent.glob(f"{run.name}-*")):
        if is_aside(folder):
            continue
        try:
            results = read_splits(folder).get(str(settings.get("split", "")))
        except UserError:  # not a run folder, or of an older version
            continue
        if results and results.metrics["scores"]:
            theirs = results.metrics["settings"]
            if all(theirs.get(name) == settings.get(name) for name in ("data", "part")):
                found[folder] = results.metrics["scores"]
    return found


_LARGE = 1000  # from here on, scores have no decimals
_HUGE = 1e300  # no score; a whole number of JSON can be too large for a decimal


def format_score(score: Any) -> str:
    """A score for people: `0.512 [0.498, 0.527]`, or `-` where there is none; a count as it is."""
    if isinstance(score, dict):
        if isinstance(score.get("value"), int) and score["value"] == score.get("low") == score.get("high"):
            return f"{score['value']:,}"
        value, low, high = (format_score(score.get(key)) for key in ("value", "low", "high"))
        return value if "-" in (value, low, high) else f"{value} [{low}, {high}]"
    if not isinstance(score, (int, float)) or not abs(score) < _HUGE:
        return "-"
    return f"{score:,.0f}" if abs(score) >= _LARGE else f"{score:.3f}"


# Writing.


def write_predictions(
    run: Path,
    split: str,
    origin: Mapping[str, Any],
    predictions: Sequence[Prediction],
    attention: Sequence[AttentionMaps],
) -> Path:
    """Write the predictions on a split ahead of their scores, which may fail, or be impossible. Scores that the split
    has already are kept, in `splits/NAME.old`, until `write_scores` has newer ones.

    Args:
        run: the run folder.
        split: the split's name.
        origin: what is fixed of the results already: `settings`, and what else is to stand in `metrics.json`.
        predictions, attention: in the order of the files.

    Returns:
        the file of the predictions.
    """
    _split_older(run)
    folder, old, new = (run / "splits" / f"{split}{suffix}" for suffix in ("", ".old", ".new"))
    shutil.rmtree(new, ignore_errors=True)  # of one that was killed
    write_records(new / _PREDICTIONS, predictions)
    if attention:
        write_records(new / _ATTENTION, attention)
    settings = {**origin["settings"], "split": split, "not_computed": "scoring was not completed"}
    write_json(new / _METRICS, {"scores": {}, **origin, "settings": settings})
    if _has_scores(folder):
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return folder / _PREDICTIONS


def scored(examples: Sequence[Example], fields: Iterable[Mapping[str, Any]]) -> Iterator[ScoredExample]:
    """The examples with the fields that scoring gave to each, in their order; with none where it gave no fields."""
    given = iter(fields)
    for example in examples:
        yield ScoredExample(**{**vars(example), **next(given, {})})


def write_scores(run: Path, split: str, result: Mapping[str, Any], items: Iterable[ScoredExample] = ()) -> None:
    """Write the results of predictions that were written, and the scores of each item. They become those of the run,
    but results without scores do not replace scores."""
    folder = run / "splits" / split
    write_records(folder / _ITEMS, items)
    write_json(folder / _METRICS, result)
    if result["scores"] or not _has_scores(run):
        _copy(folder, run)
    if result["scores"]:
        shutil.rmtree(run / "splits" / f"{split}.old", ignore_errors=True)


def _has_scores(folder: Path) -> bool:
    try:
        return bool(read_result(folder / _METRICS)["scores"])
    except UserError:  # there is none, or what is there is none of ours
        return False


def _split_older(run: Path) -> None:
    """Copy the results of a run folder of older form to where they are safe from those of other splits."""
    if _has_scores(run):
        split = SplitResults(run, read_result(run / _METRICS)).split
        if split in PREFERRED and _read_split(run, split) is None:
            _copy(run, run / "splits" / split)


def _copy(source: Path, target: Path) -> None:
    """Copy results; the scores last, so that they never stand beside the predictions of others for long."""
    for name in (_PREDICTIONS, _ATTENTION, _ITEMS, _METRICS):
        if (source / name).is_file():
            with (source / name).open("rb") as read, replacing(target / name, binary=True) as file:
                shutil.copyfileobj(read, file)
        else:
            (target / name).unlink(missing_ok=True)

"""A run folder, read: scores, predictions, the course of training. Where the data that it was scored on is still there,
its photographs and references too."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlrnn.errors import UserError
from vlrnn.files import read_json, read_text
from vlrnn.records import Example, Id, Prediction, RecordFile, open_split


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    `name` is what tables call it, the folder's own name. `scores` and `settings` are those of `metrics.json`, with the
    scores of each `probes/NAME.json` behind them as `NAME: score`; `log` has a list of (step, value) for each column of
    `log.csv`; `examples` are those that the predictions are about, as far as the data is there; `image_root` is the
    photographs' folder.
    """

    folder: Path
    name: str
    scores: Mapping[str, Any]
    settings: Mapping[str, Any]
    predictions: RecordFile[Prediction] | tuple[()]
    examples: Mapping[Id, Example]
    image_root: Path
    log: Mapping[str, list[tuple[int, float]]]


def load_run(folder: str | Path, most_examples: int) -> Run:
    """Read a run folder.

    Args:
        folder: with a `metrics.json` at least.
        most_examples: look up this many of the predictions' examples.

    Raises:
        UserError: it has no `metrics.json`, or one of its files is not what its name says; names file and line.
    """
    folder = Path(folder)
    if not (folder / "metrics.json").is_file():
        raise UserError(f"{folder}: not a scored run: it has no metrics.json; run vlrnn test or validate first")
    metrics = _read_result(folder / "metrics.json")
    settings = metrics["settings"]
    scores = _flat(metrics["scores"])
    for probe in sorted((folder / "probes").glob("*.json")):
        for name, score in _read_result(probe)["scores"].items():
            scores[f"{probe.stem}: {name}"] = score
    path = folder / "predictions.jsonl"
    predictions = RecordFile(path, Prediction) if path.is_file() else ()
    examples = _examples(settings, {each.id for each in predictions[:most_examples]})
    image_root = Path(settings.get("image_root") or settings.get("data") or ".")
    log = _read_log(folder / "log.csv")
    return Run(folder, folder.resolve().name, scores, settings, predictions, examples, image_root, log)


def _flat(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores without nesting: those of question types as `per_question_type: color`."""
    flat: dict[str, Any] = {}
    for name, score in scores.items():
        if isinstance(score, dict) and score and all(isinstance(each, dict) for each in score.values()):
            flat |= {f"{name}: {part}": each for part, each in score.items()}
        else:
            flat[name] = score
    return flat


def _read_result(path: Path) -> dict[str, Any]:
    result = read_json(path)
    if not isinstance(result, dict) or not all(isinstance(result.get(key), dict) for key in ("scores", "settings")):
        raise UserError(f'{path}: expected {{"scores": {{...}}, "settings": {{...}}}}')
    for name in ("data", "split", "image_root"):
        if not isinstance(result["settings"].get(name, ""), str):
            raise UserError(f"{path}: settings: {name!r} must be a text")
    return result


def _examples(settings: Mapping[str, Any], wanted: set[Id]) -> dict[Id, Example]:
    try:
        split = open_split(settings["data"], settings["split"])
    except (KeyError, UserError):
        return {}
    found: dict[Id, Example] = {}
    for example in split:
        if len(found) == len(wanted):
            break
        if example.id in wanted:
            found[example.id] = example
    return found


def _read_log(path: Path) -> dict[str, list[tuple[int, float]]]:
    if not path.is_file():
        return {}
    columns: dict[str, list[tuple[int, float]]] = {}
    rows = csv.DictReader(read_text(path).splitlines())
    try:
        for row in rows:
            for name, value in row.items():
                if value and name not in ("step", "epoch"):
                    columns.setdefault(name, []).append((int(row["step"]), float(value)))
    except (KeyError, TypeError, ValueError, csv.Error):
        raise UserError(f"{path}:{rows.line_num}: not a row of numbers with a step; remove the line") from None
    return columns

"""A run folder, read: scores, predictions, probes, the course of training, and what made it."""

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlrnn.data.records import AttentionMaps, Prediction, RecordFile
from vlrnn.errors import UserError
from vlrnn.files import read_text
from vlrnn.runs import choose_split, not_shown, read_result
from vlrnn.yaml_text import read_yaml


@dataclass(frozen=True)
class Run:
    """What a run folder holds, of one of its splits.

    `name` is what tables call it, the folder's own name. `scores` (those of types as `per_question_type: color`),
    `settings` and `provenance` are those of `metrics.json`; `config` is the recipe; `probes` has each
    `probes/NAME.json` by its name; `log` a list of (step, value) for each column of `log.csv`. `not_scored` has, by
    split, why val, test, or newer predictions, have no scores; `scored` names the other splits that have. `baseline`:
    others are compared with it.
    """

    folder: Path
    name: str
    scores: Mapping[str, Any]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    config: Mapping[str, Any]
    probes: Mapping[str, Mapping[str, Any]]
    predictions: Sequence[Prediction]
    attention: Sequence[AttentionMaps]
    log: Mapping[str, list[tuple[int, float]]]
    not_scored: Mapping[str, str]
    scored: Sequence[str] = ()
    baseline: bool = False

    @property
    def scored_on(self) -> tuple[str, str] | None:
        """The data set's folder and split, where the run names them."""
        data, split = self.settings.get("data"), self.settings.get("split")
        return (data, split) if data and split else None

    @property
    def image_root(self) -> Path:
        return Path(self.settings.get("image_root") or self.settings.get("data") or ".")


def load_run(
    folder: str | Path, split: str | None = None, baseline: bool = False, preferred: Collection[tuple[str, str]] = ()
) -> Run:
    """Read a run folder.

    Args:
        folder: with a `metrics.json` at least.
        split: the split to read, see `vlrnn.runs.choose_split`; by default test where it has scores, then val.
        baseline: others are compared with it.
        preferred: (data set, split) of these, one of which is read where no split is named and it has scores.

    Raises:
        UserError: it has no `metrics.json`, or none of the split, or one of its files is malformed: file and line.
    """
    folder = Path(folder)
    results = choose_split(folder, split, preferred)
    others = not_shown(folder, results.split) if results.split else {}
    own = results.newer and f"newer predictions, {results.newer}"
    reasons = {results.split or "its split": results.not_scored or own, **others}
    return Run(
        folder=folder,
        name=folder.resolve().name,
        scores=_flat(results.metrics["scores"]),
        settings=results.metrics["settings"],
        provenance=results.metrics.get("provenance", {}),
        config=_read_config(folder / "config.yaml"),
        probes={path.stem: read_result(path) for path in sorted((folder / "probes").glob("*.json"))},
        predictions=RecordFile(results.predictions, Prediction) if results.predictions.is_file() else (),
        attention=RecordFile(results.attention, AttentionMaps) if results.attention.is_file() else (),
        log=_read_log(folder / "log.csv"),
        not_scored={name: reason for name, reason in reasons.items() if reason},
        scored=[name for name, reason in others.items() if not reason],
        baseline=baseline,
    )


def _flat(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores without nesting: those of question types as `per_question_type: color`."""
    flat: dict[str, Any] = {}
    for name, score in scores.items():
        if isinstance(score, dict) and score and all(isinstance(each, dict) for each in score.values()):
            flat |= {f"{name}: {part}": each for part, each in score.items()}
        else:
            flat[name] = score
    return flat


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    config = read_yaml(path)
    return config if isinstance(config, dict) else {}


def _read_log(path: Path) -> dict[str, list[tuple[int, float]]]:
    if not path.is_file():
        return {}
    columns: dict[str, list[tuple[int, float]]] = {}
    means: list[tuple[int, float]] = []  # of the training loss over an epoch: drawn where no step was logged
    rows = csv.DictReader(read_text(path).splitlines())
    try:
        for row in rows:
            for name, value in row.items():
                if value and name not in ("step", "epoch"):
                    mean = name == "train/loss" and row.get("train/seconds")
                    (means if mean else columns.setdefault(name, [])).append((int(row["step"]), float(value)))
    except (KeyError, TypeError, ValueError, csv.Error):
        raise UserError(f"{path}:{rows.line_num}: not a row of numbers with a step; remove the line") from None
    return {"train/loss": means, **columns} if means else columns

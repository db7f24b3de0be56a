"""The content of a run folder for a report: scores, items, predictions, probes, the training log, and the facts of the
run. Independent of pages."""

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from vlrnn.data.records import AttentionMaps, Prediction, ScoredExample
from vlrnn.errors import UserError
from vlrnn.files import read_text
from vlrnn.runs import choose_split, not_shown, read_result
from vlrnn.yaml_text import read_yaml


@dataclass(frozen=True)
class Run:
    """The content of a run folder for one of its splits.

    `name` is the folder's own name, for tables. `scores` (those of types as `per_question_type: color`),
    `settings` and `provenance` are those of `metrics.json`; `config` is the recipe; `probes` has each
    `probes/NAME.json` by its name; `log` a list of (step, value) for each column of `log.csv`. `not_scored` has, by
    split, why val, test, or newer predictions, have no scores; `scored` names the other splits with scores.
    `baseline`: other runs are compared with it.
    """

    folder: Path
    name: str
    scores: Mapping[str, Any]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    config: Mapping[str, Any]
    probes: Mapping[str, Mapping[str, Any]]
    items: Sequence[ScoredExample]
    predictions: Sequence[Prediction]
    attention: Sequence[AttentionMaps]
    log: Mapping[str, list[tuple[int, float]]]
    not_scored: Mapping[str, str]
    scored: Sequence[str] = ()
    baseline: bool = False

    @property
    def scored_on(self) -> tuple[str, str] | None:
        """The data set's folder and split, if they are in the run's settings."""
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
        baseline: other runs are compared with it.
        preferred: pairs of data set and split; without `split`, one of these is read if it has scores.

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
        config=_mapping(read_yaml(config) if (config := folder / "config.yaml").is_file() else {}),
        probes={path.stem: read_result(path) for path in sorted((folder / "probes").glob("*.json"))},
        items=results.records(ScoredExample),
        predictions=results.records(Prediction),
        attention=results.records(AttentionMaps),
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


def facts(run: Run) -> dict[str, str]:
    """Label -> text of the run folder's records: data, model, decoding, training, seed, versions, time."""
    return {label: text for label, text in _facts(run) if text}


def flatten(tree: Any, place: tuple[str, ...] = ()) -> dict[str, Any]:
    """The leaves of a config, by their dotted places without `class_path` and `init_args`."""
    if not isinstance(tree, Mapping):
        return {".".join(place): tree}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flatten(value, place if key in ("class_path", "init_args") else (*place, str(key)))
    return found


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    model, data, trainer = (_mapping(run.config.get(name)) for name in ("model", "data", "trainer"))
    arguments = _mapping(model.get("init_args"))
    yield "data", _data(run)
    scored = [f"{split}: scored (--split {split})" for split in run.scored]
    not_scored = [f"{split}: not scored: {reason}" for split, reason in run.not_scored.items()]
    yield "other splits", "; ".join([*scored, *not_scored])
    yield "task", _name(model)
    for name, value in arguments.items():
        if isinstance(value, Mapping) and "class_path" in value and name not in ("generation", "answer_decoding"):
            yield name.replace("_", " "), _part(value)
    yield "decoding", _listed(run.predictions[0].settings if run.predictions else {})
    training = {"epochs": trainer.get("max_epochs"), "batch size": data.get("batch_size")}
    members = None if arguments.get("num_members") == 1 else arguments.get("num_members")
    yield "training", _listed(training | {"bptt length": data.get("bptt_length"), "num_members": members})
    seconds = sum(each for _, each in run.log.get("train/seconds", ()))
    yield "trained for", f"{timedelta(seconds=round(seconds))} (h:min:s)" if seconds else ""
    seed = run.config.get("seed_everything")
    yield "seed", "" if seed is None else str(seed)
    versions = ("vlrnn", "commit", "python", "torch", "torchvision", "pytorch-lightning", "numpy")
    yield "versions", _listed({name: run.provenance.get(name) for name in versions})
    for name in ("device", "checkpoint", "date"):
        yield name, str(run.provenance.get(name) or "")


def _data(run: Run) -> str:
    if run.scored_on is None:
        return ""
    folder, split = run.scored_on
    count = f", {len(run.predictions):,} examples" if run.predictions else ""
    part = f"; only a part: {run.settings['part']}" if run.settings.get("part") else ""
    return f"{Path(folder).name}, {split}{count}{part}"


def _part(value: Any) -> str:
    """A part in Python's notation, without arguments that are off or absent: `LSTM(hidden_size=512)`."""
    if isinstance(value, Mapping) and "class_path" in value:
        given = {name: each for name, each in _mapping(value.get("init_args")).items() if each not in (None, False, 0)}
        return f"{_name(value)}({', '.join(f'{name}={_part(each)}' for name, each in given.items())})"
    if isinstance(value, str):
        return Path(value).name
    return str(value)


def _name(part: Mapping[str, Any]) -> str:
    return str(part.get("class_path", "")).rpartition(".")[2]


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

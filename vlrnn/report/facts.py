"""What was run, in words: from a run's recipe, settings and provenance. Independent of pages."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from vlrnn.data.records import describe_dataset
from vlrnn.errors import UserError
from vlrnn.report.run import Run


def facts(run: Run) -> dict[str, str]:
    """Label -> text, of what the run folder records: data, model, decoding, training, seed, versions, time."""
    return {label: text for label, text in _facts(run) if text}


def flatten(tree: Any, place: tuple[str, ...] = ()) -> dict[str, Any]:
    """The leaves of a config, by their dotted places; the keys of classes and their arguments are left out of these."""
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
    yield "other splits", _other_splits(run)
    yield "task", _name(model)
    for name, value in arguments.items():
        if isinstance(value, Mapping) and "class_path" in value and name not in ("generation", "answer_decoding"):
            yield name.replace("_", " "), _part(value)
    yield "decoding", _listed(run.predictions[0].settings if run.predictions else {})
    yield (
        "training",
        _listed(
            {
                "epochs": trainer.get("max_epochs"),
                "batch size": data.get("batch_size"),
                "bptt length": data.get("bptt_length"),
            }
        )
        + "".join(f", {name} {arguments[name]}" for name in ("num_members",) if arguments.get(name, 1) != 1),
    )
    yield "trained for", _duration(sum(seconds for _, seconds in run.log.get("train/seconds", ())))
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
    try:
        name = str(describe_dataset(folder).get("name", folder))
    except UserError:
        name = folder
    count = f", {len(run.predictions):,} examples" if run.predictions else ""
    part = f"; only a part: {run.settings['part']}" if run.settings.get("part") else ""
    return f"{name}, {split}{count}{part}"


def _other_splits(run: Run) -> str:
    scored = [f"{split}: scored (--split {split})" for split in run.scored]
    return "; ".join([*scored, *(f"{split}: not scored: {reason}" for split, reason in run.not_scored.items())])


def _part(value: Any) -> str:
    """A part as it is written in Python, without what is off or absent: `LSTM(width=512)`."""
    if isinstance(value, Mapping) and "class_path" in value:
        arguments = {name: _part(each) for name, each in _mapping(value.get("init_args")).items() if _matters(each)}
        return f"{_name(value)}({', '.join(f'{name}={each}' for name, each in arguments.items())})"
    if isinstance(value, str):
        return Path(value).name
    return str(value)


def _matters(value: Any) -> bool:
    return value is not None and value is not False and value != 0


def _name(part: Mapping[str, Any]) -> str:
    return str(part.get("class_path", "")).rpartition(".")[2]


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))) + " (h:min:s)" if seconds else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

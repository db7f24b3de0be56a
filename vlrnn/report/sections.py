"""Sections of a report about probes and studies: a row per score, and cases with their images.

Reads the JSON form of a finding or a study; independent of the probe that wrote it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from vlrnn.data.record_ids import Id, as_id
from vlrnn.probes.finding import named_scores
from vlrnn.report.cell_plots import draw_horizon
from vlrnn.report.drawing import drawn
from vlrnn.report.group import Group
from vlrnn.report.items import Pictures
from vlrnn.report.run import Run
from vlrnn.report.study_plots import draw_dose_response, draw_recurrences, draw_sweep
from vlrnn.runs import read_result


@dataclass(frozen=True)
class ProbeRow:
    """A score, labelled by its groups and its name, and those of the baselines, None where absent."""

    label: str
    score: Any
    baseline_scores: Sequence[Any]


@dataclass(frozen=True)
class Case:
    """A case: its example's id, the number of its picture, if there is one, and its fields."""

    id: Id
    picture: int | None
    fields: Mapping[str, str]


@dataclass(frozen=True)
class ProbeSection:
    """One probe of one run. `details` are the input of pictures."""

    name: str
    run: str
    baselines: Sequence[str]
    rows: Sequence[ProbeRow]
    cases: Sequence[Case]
    details: Mapping[str, Any]
    notes: Sequence[str]
    not_computed: Mapping[str, str]


def probe_section(group: Group, pictures: Pictures) -> list[ProbeSection]:
    """The probes of a group's runs, sorted by name."""
    of_image = {example.image_id: example for example in group.examples.values()}
    places = {id: example.image for id, example in (of_image | dict(group.examples)).items()}
    names = sorted({name for run in group.runs for name in run.probes})
    return [_section(name, run, places, pictures) for name in names for run in group.runs if name in run.probes]


def _section(name: str, run: Run, places: Mapping[Id, str], pictures: Pictures) -> ProbeSection:
    finding = run.probes[name]
    baselines = {row: dict(named_scores(scores)) for row, scores in finding.get("baselines", {}).items()}
    rows = [
        ProbeRow(": ".join(place), score, [scores.get(place) for scores in baselines.values()])
        for place, score in named_scores(finding["scores"])
    ]
    cases = []
    for case in finding.get("cases", ()):
        id = as_id(str(case.get("id", "")))
        picture = pictures.number(run.image_root / places[id]) if places.get(id) else None
        cases.append(Case(id, picture, {key: _text(value) for key, value in case.items() if key != "id"}))
    notes, details, absent = finding.get("notes", ()), finding.get("details", {}), finding.get("not_computed", {})
    own, shown = finding["settings"].get("split"), run.settings.get("split")
    elsewhere = [f"of {own}, but the scores of this report are of {shown}"] if own and shown and own != shown else []
    notes = [*elsewhere, *map(str, notes)]
    return ProbeSection(name, run.name, list(baselines), rows, cases, details, notes, absent)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class StudySection:
    """A study: its name, its folder, and rows of a group's name and its score in each of the columns, None where
    absent. `found` is the content of `metrics.json`, the input of its picture."""

    name: str
    folder: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Any]]]
    notes: Sequence[str]
    settings: Mapping[str, Any]
    found: Mapping[str, Any]


def load_study(folder: str | Path) -> StudySection | None:
    """Read the folder of a study; None if it is no study.

    Raises:
        UserError: its `metrics.json` is broken.
    """
    path = Path(folder) / "metrics.json"
    found = read_result(path) if path.is_file() else {"scores": {}, "settings": {}}
    name = found["settings"].get("study")
    if not isinstance(name, str):
        return None
    groups: dict[str, dict[str, Any]] = {}
    for (*group, column), score in named_scores(found["scores"]):
        groups.setdefault(": ".join(group), {})[column] = score
    columns = list(dict.fromkeys(column for scores in groups.values() for column in scores))
    rows = [(group, [scores.get(column) for column in columns]) for group, scores in groups.items()]
    notes = [str(note) for note in found.get("notes", ())]
    return StudySection(name, str(folder), columns, rows, notes, found["settings"], found)


def study_picture(study: StudySection) -> Markup:
    """The picture of a study; empty if it has none, or its scores do not fit."""
    draw = _PICTURES.get(study.name)
    try:
        return drawn(draw)(study.found) if draw else Markup()
    except (KeyError, TypeError, AttributeError, ValueError, IndexError):  # written by hand, or by another version
        return Markup()


def _of_scores(draw: Callable[[Any, Any], Figure]) -> Callable[[Any], Figure]:
    return lambda found: draw(found["scores"], found["settings"])


_PICTURES: dict[str, Callable[[Any], Figure]] = {
    "dose-response": _of_scores(draw_dose_response),
    "horizon": _of_scores(draw_horizon),
    "recurrences": _of_scores(draw_recurrences),
    "sweep": lambda found: draw_sweep(found["details"], found["settings"]),
}

"""What probes found, as a report tells it: a row for each score, and the telling cases with their pictures. Knows the
form of a finding, no probe."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlrnn.records import Id, as_id
from vlrnn.report.group import Group
from vlrnn.report.items import Pictures
from vlrnn.report.run import Run


@dataclass(frozen=True)
class ProbeRow:
    """A score, by the names of its groups and its own, and what the baselines have there, None where they have none."""

    label: str
    score: Any
    beside: Sequence[Any]


@dataclass(frozen=True)
class Case:
    """A telling case: its example's id, the number of its picture, if it is known, and what the probe says of it."""

    id: Id
    picture: int | None
    told: Mapping[str, str]


@dataclass(frozen=True)
class Probed:
    """One probe of one run. `details` are what pictures are drawn from."""

    name: str
    run: str
    baselines: Sequence[str]
    rows: Sequence[ProbeRow]
    cases: Sequence[Case]
    details: Mapping[str, Any]
    notes: Sequence[str]
    not_computed: Mapping[str, str]


def probed(group: Group, pictures: Pictures) -> list[Probed]:
    """The probes of a group's runs, those of one name behind each other."""
    of_image = {example.image_id: example for example in group.examples.values()}
    places = {id: example.image for id, example in (of_image | dict(group.examples)).items()}
    found = []
    for name in sorted({name for run in group.runs for name in run.probes}):
        for run in group.runs:
            if name in run.probes:
                images = {
                    id: pictures.number(run.image_root / place) for id, place in _wanted(run.probes[name], places)
                }
                found.append(_probed(name, run, run.probes[name], images))
    return found


def number(score: Any) -> float | None:
    """The value of a score, which may be a plain number or one with an interval; None of anything else."""
    value = score.get("value") if isinstance(score, Mapping) else score
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _wanted(finding: Mapping[str, Any], places: Mapping[Id, str]) -> list[tuple[Id, str]]:
    ids = [as_id(str(case.get("id", ""))) for case in finding.get("cases", ())]
    return [(id, places[id]) for id in ids if id in places]


def _probed(name: str, run: Run, finding: Mapping[str, Any], images: Mapping[Id, int]) -> Probed:
    baselines = {row: dict(_flat(scores)) for row, scores in finding.get("baselines", {}).items()}
    rows = [
        ProbeRow(label, score, [scores.get(label) for scores in baselines.values()])
        for label, score in _flat(finding["scores"])
    ]
    cases = []
    for case in finding.get("cases", ()):
        id = as_id(str(case.get("id", "")))
        told = {key: _told(value) for key, value in case.items() if key != "id"}
        cases.append(Case(id, images.get(id), told))
    notes, details, absent = finding.get("notes", ()), finding.get("details", {}), finding.get("not_computed", {})
    own, shown = finding["settings"].get("split"), run.settings.get("split")
    elsewhere = [f"of {own}, where the scores of this report are of {shown}"] if own and shown and own != shown else []
    notes = [*elsewhere, *map(str, notes)]
    return Probed(name, run.name, list(baselines), rows, cases, details, notes, absent)


def _flat(scores: Any, groups: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not isinstance(scores, Mapping):
        return
    for name, score in scores.items():
        if number(score) is not None:
            yield ": ".join((*groups, name)), score
        else:
            yield from _flat(score, (*groups, name))


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

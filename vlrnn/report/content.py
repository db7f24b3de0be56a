"""Content of a report, independent of its format: of each group of runs what was run, scores, comparison, breakdowns,
probes and items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import vlrnn
from vlrnn.data.record_ids import Id, as_id
from vlrnn.errors import UserError
from vlrnn.probes.finding import named_scores
from vlrnn.report.group import Breakdown, Group, breakdowns, group_runs
from vlrnn.report.items import Pictures, ShownItems, shown
from vlrnn.report.run import Run, facts, load_run
from vlrnn.runs import baselines, read_result


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


@dataclass(frozen=True)
class RunSummary:
    """A run: its facts in words, its settings and its recipe; the name of the scores of its own predictions; and by
    split, the one of the report and test, the reason if it is `not_scored`."""

    name: str
    folder: str
    baseline: bool
    facts: Mapping[str, str]
    settings: Mapping[str, Any]
    config: Mapping[str, Any]
    log: Mapping[str, Sequence[tuple[int, float]]]
    score_name: str
    not_scored: Mapping[str, str]


@dataclass(frozen=True)
class Section:
    """A group of runs that were scored on the same examples. `scores` has for each name the score of each run, None
    where it has none; `differences` are of the first run to each other, on `compared_on` items."""

    runs: Sequence[RunSummary]
    has_questions: bool
    unit: str
    scores: Mapping[str, Sequence[Any]]
    differences: Sequence[tuple[str, Mapping[str, Any]]]
    compared_on: int
    breakdowns: Sequence[Breakdown]
    probes: Sequence[ProbeSection]
    shown: ShownItems

    @property
    def is_text(self) -> bool:
        """Whether the items are passages of a text."""
        return "units" in self.runs[0].settings

    @property
    def learning(self) -> dict[str, list[Sequence[tuple[int, float]]]]:
        """The losses and the scores while training, by their names in `log.csv`: of each run (step, value)."""
        names = dict.fromkeys(name for run in self.runs for name in run.log)
        logged = [name for name in names if name == "train/loss" or name.startswith("val/")]
        return {name: [run.log.get(name, ()) for run in self.runs] for name in logged}

    def score_rows(self, typed: bool) -> list[tuple[str, Sequence[Any]]]:
        """The scores of question and answer types, or all others."""
        return [(name, scores) for name, scores in self.scores.items() if (": " in name) == typed]


@dataclass(frozen=True)
class Report:
    """A report without its pictures, which are numbered. Each study has a section of its own, before the runs;
    `not_found` has a line for each part that is missing because a file was not found."""

    title: str
    version: str
    date: str
    not_found: Sequence[str]
    studies: Sequence[StudySection]
    sections: Sequence[Section]


def build(
    folders: Sequence[str | Path],
    baseline_folders: Sequence[str | Path],
    examples: int,
    seed: int = 0,
    split: str | None = None,
) -> tuple[Report, list[Path]]:
    """Read runs and collect the content of their report.

    Args:
        folders, baseline_folders, examples, seed: see `vlrnn.report.page.write_report`.
        split: of all runs; by default of the first test where it has scores, then val, and of the others the same split
            where it has scores.

    Returns:
        the report, and the files of its pictures.

    Raises:
        UserError: a folder is neither a scored run nor a study, or a run has nothing of the split.
    """
    if examples < 0:
        raise UserError(f"examples must not be negative, as {examples} is")
    pictures = Pictures()
    read = {folder: load_study(folder) for folder in folders}
    studies = [study for study in read.values() if study]
    runs = _load([folder for folder, study in read.items() if not study], baseline_folders, split)
    sections = [_section(group, examples, pictures, seed) for group in group_runs(runs)]
    title = ", ".join([study.name for study in studies] + [run.name for run in runs if not run.baseline])
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    files = list(pictures.numbers)
    return Report(title, vlrnn.__version__, made, _not_found(runs, files), studies, sections), files


def _not_found(runs: Sequence[Run], pictures: Sequence[Path]) -> list[str]:
    lack = "has no items.jsonl: its items have no scores, references and pictures; run vlrnn test again"
    lines = [f"{run.folder}: {lack}" for run in runs if run.predictions and not run.items]
    missing = [path for path in pictures if not path.is_file()]
    count = f"{len(missing):,} of {len(pictures):,} pictures were not found"
    return [*lines, f"{count}, the first is {missing[0]}"] if missing else lines


def _load(folders: Sequence[str | Path], baseline_folders: Sequence[str | Path], split: str | None) -> list[Run]:
    runs: list[Run] = []
    others: list[Run] = []
    for loaded, named in ((runs, folders), (others, baseline_folders)):
        for folder in named:
            scored_on = [run.scored_on for run in runs if run.scored_on]
            loaded.append(load_run(folder, split, baseline=loaded is others, preferred=scored_on))
    included = {run.folder.resolve() for run in (*runs, *others)}
    for run in runs:
        found = [path for path in baselines(run.folder.resolve(), run.settings) if path.resolve() not in included]
        on = run.scored_on
        others += [load_run(path, on[1] if on else None, baseline=True) for path in found]
        included.update(found)
    runs += others
    if len({run.name for run in runs}) < len(runs):  # for example gru/captioning and lstm/captioning
        runs = [replace(run, name=str(run.folder)) for run in runs]
    return runs


def _section(group: Group, examples: int, pictures: Pictures, seed: int) -> Section:
    names = dict.fromkeys(name for run in group.runs for name in run.scores)
    return Section(
        runs=list(map(_summary, group.runs)),
        has_questions=group.has_questions,
        unit=group.unit,
        scores={name: [run.scores.get(name) for run in group.runs] for name in names},
        differences=group.differences(seed=seed) if group.ids else [],
        compared_on=len(group.ids),
        breakdowns=breakdowns(group, seed=seed),
        probes=probe_section(group, pictures),
        shown=shown(group, examples, pictures, seed),
    )


def _summary(run: Run) -> RunSummary:
    splits = () if run.baseline else (run.settings.get("split") or "its split", "test")
    return RunSummary(
        **{name: getattr(run, name) for name in ("name", "baseline", "settings", "config", "log")},
        folder=str(run.folder),
        facts=facts(run),
        score_name=run.predictions[0].score_name if run.predictions else "score",
        not_scored={split: reason for split, reason in run.not_scored.items() if split in splits},
    )


def probe_section(group: Group, pictures: Pictures) -> list[ProbeSection]:
    """The probes of a group's runs, sorted by name."""
    of_image = {example.image_id: example for example in group.examples.values()}
    places = {id: example.image for id, example in (of_image | dict(group.examples)).items()}
    names = sorted({name for run in group.runs for name in run.probes})
    return [_probe(name, run, places, pictures) for name in names for run in group.runs if name in run.probes]


def _probe(name: str, run: Run, places: Mapping[Id, str], pictures: Pictures) -> ProbeSection:
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
        values = {key: each if isinstance(each, list) else [each] for key, each in case.items() if key != "id"}
        cases.append(Case(id, picture, {key: ", ".join(map(str, each)) for key, each in values.items()}))
    notes, details, absent = finding.get("notes", ()), finding.get("details", {}), finding.get("not_computed", {})
    own, shown = finding["settings"].get("split"), run.settings.get("split")
    elsewhere = [f"of {own}, but the scores of this report are of {shown}"] if own and shown and own != shown else []
    notes = [*elsewhere, *map(str, notes)]
    return ProbeSection(name, run.name, list(baselines), rows, cases, details, notes, absent)


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

"""Content of a report, independent of its format: of each group of runs what was run, scores, comparison, breakdowns,
probes and items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import vlrnn
from vlrnn.errors import UserError
from vlrnn.report.breakdown import Breakdown, breakdowns
from vlrnn.report.group import Group, group_runs
from vlrnn.report.items import Pictures, ShownItems, shown
from vlrnn.report.run import Run, facts, load_run
from vlrnn.report.sections import ProbeSection, StudySection, load_study, probe_section
from vlrnn.runs import baselines


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


def _not_scored(run: Run) -> dict[str, str]:
    """Split -> reason, of the split of the report and of test, if these have no scores."""
    shown = run.settings.get("split") or "its split"
    return {split: reason for split, reason in run.not_scored.items() if split in (shown, "test") and not run.baseline}


def _section(group: Group, examples: int, pictures: Pictures, seed: int) -> Section:
    names = dict.fromkeys(name for run in group.runs for name in run.scores)
    return Section(
        runs=[
            RunSummary(
                name=run.name,
                folder=str(run.folder),
                baseline=run.baseline,
                facts=facts(run),
                settings=run.settings,
                config=run.config,
                log=run.log,
                score_name=run.predictions[0].score_name if run.predictions else "score",
                not_scored=_not_scored(run),
            )
            for run in group.runs
        ],
        has_questions=group.has_questions,
        unit=group.unit,
        scores={name: [run.scores.get(name) for run in group.runs] for name in names},
        differences=group.differences(seed=seed) if group.ids else [],
        compared_on=len(group.ids),
        breakdowns=breakdowns(group, seed=seed),
        probes=probe_section(group, pictures),
        shown=shown(group, examples, pictures, seed),
    )

"""What a report says, whatever it is written as: of each group of runs what was run, scores, comparison, breakdowns,
probes and items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import vlrnn
from vlrnn.errors import UserError
from vlrnn.report.breakdown import Breakdown, breakdowns
from vlrnn.report.facts import facts
from vlrnn.report.group import Group, group_runs
from vlrnn.report.items import Pictures, Shown, shown
from vlrnn.report.probed import Probed, probed
from vlrnn.report.run import Run, load_run
from vlrnn.report.studied import Studied, load_study
from vlrnn.tasks.beside import baselines


@dataclass(frozen=True)
class RunTold:
    """A run: what was run, in words, and all of its settings and its recipe."""

    name: str
    folder: str
    baseline: bool
    facts: Mapping[str, str]
    settings: Mapping[str, Any]
    config: Mapping[str, Any]
    log: Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class Section:
    """A group of runs that were scored on the same examples. `scores` has for each name the score of each run, None
    where it has none; `differences` the first run's scores less those of each other, with intervals and p values."""

    runs: Sequence[RunTold]
    asks: bool
    unit: str
    scores: Mapping[str, Sequence[Any]]
    differences: Sequence[Mapping[str, Any]]
    compared_on: int
    breakdowns: Sequence[Breakdown]
    probes: Sequence[Probed]
    shown: Shown

    @property
    def reads(self) -> bool:
        """Whether a running text was scored, which the items are then passages of."""
        return "units" in self.runs[0].settings

    @property
    def learning(self) -> dict[str, list[Sequence[tuple[int, float]]]]:
        """The losses and the scores while training, by their names in `log.csv`: of each run (step, value)."""
        names = dict.fromkeys(name for run in self.runs for name in run.log)
        told = [name for name in names if name == "train/loss" or name.startswith("val/")]
        return {name: [run.log.get(name, ()) for run in self.runs] for name in told}

    @property
    def plain_scores(self) -> list[tuple[str, Sequence[Any]]]:
        return [(name, scores) for name, scores in self.scores.items() if ": " not in name]

    @property
    def typed_scores(self) -> list[tuple[str, Sequence[Any]]]:
        """Those of question and answer types."""
        return [(name, scores) for name, scores in self.scores.items() if ": " in name]


@dataclass(frozen=True)
class Report:
    """All of a report but its pictures, which are numbered. Studies have each a part of their own, ahead of runs."""

    title: str
    version: str
    date: str
    studies: Sequence[Studied]
    sections: Sequence[Section]


def build(
    folders: Sequence[str | Path], beside: Sequence[str | Path], examples: int, seed: int = 0
) -> tuple[Report, list[Path]]:
    """Read runs, and say what there is to say of them.

    Args:
        folders: run folders, and those of studies.
        beside: those of baselines; `RUN-*` folders that were scored on the same examples are baselines anyway.
        examples: show this many items of each group at most.
        seed: of the bootstrap, and of what is drawn.

    Returns:
        the report, and the files of its pictures.

    Raises:
        UserError: a folder is neither a scored run nor a study.
    """
    if examples < 0:
        raise UserError(f"examples must not be negative, as {examples} is")
    pictures = Pictures()
    read = {folder: load_study(folder) for folder in folders}
    studies = [study for study in read.values() if study]
    runs = _load([folder for folder, study in read.items() if not study], beside)
    sections = [_section(group, examples, pictures, seed) for group in group_runs(runs)]
    title = ", ".join([study.name for study in studies] + [run.name for run in runs if not run.baseline])
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return Report(title, vlrnn.__version__, made, studies, sections), list(pictures.numbers)


def _load(folders: Sequence[str | Path], beside: Sequence[str | Path]) -> list[Run]:
    runs = [load_run(folder) for folder in folders]
    others = [load_run(folder, baseline=True) for folder in beside]
    known = {run.folder.resolve() for run in (*runs, *others)}
    for run in runs:
        found = [path for path in baselines(run.folder.resolve(), run.settings) if path.resolve() not in known]
        others += [load_run(path, baseline=True) for path in found]
        known.update(found)
    runs += others
    if len({run.name for run in runs}) < len(runs):  # gru/captioning and lstm/captioning, say
        runs = [replace(run, name=str(run.folder)) for run in runs]
    return runs


def _section(group: Group, examples: int, pictures: Pictures, seed: int) -> Section:
    names = dict.fromkeys(name for run in group.runs for name in run.scores)
    return Section(
        runs=[
            RunTold(run.name, str(run.folder), run.baseline, facts(run), run.settings, run.config, run.log)
            for run in group.runs
        ],
        asks=group.asks,
        unit=group.unit,
        scores={name: [run.scores.get(name) for run in group.runs] for name in names},
        differences=group.differences(seed=seed) if len(group.judged) > 1 else [],
        compared_on=len(group.ids),
        breakdowns=breakdowns(group, seed=seed),
        probes=probed(group, pictures),
        shown=shown(group, examples, pictures, seed),
    )

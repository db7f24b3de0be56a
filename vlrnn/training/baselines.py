"""Runs that stand beside each other: a model's scores, and those of its baselines, in one table.

Baselines are found by their folders: `runs/x-blind` and `runs/x-prior` stand beside `runs/x`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vlrnn.errors import UserError
from vlrnn.files import is_aside
from vlrnn.runs import read_splits
from vlrnn.terminal import printable


def baselines(run: Path, settings: Mapping[str, Any]) -> dict[Path, Mapping[str, Any]]:
    """The folders of a run's baselines that were scored on the same examples, and their scores.

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
        except UserError:  # not ours, or of another time: it is only not told of
            continue
        if results and results.metrics["scores"]:
            theirs = results.metrics["settings"]
            if all(theirs.get(name) == settings.get(name) for name in ("data", "part")):
                found[folder] = results.metrics["scores"]
    return found


def print_beside(run: Path, result: Mapping[str, Any]) -> None:
    """Print the scores of a run beside those of its baselines; nothing where there are none."""
    beside = {path.name: scores for path, scores in baselines(run, result["settings"]).items()}
    if beside:
        Console(emoji=False).print(_table({run.name: result["scores"], **beside}, result["settings"]["split"]))


def _table(rows: Mapping[str, Mapping[str, Any]], split: str) -> Table:
    """Scores down, runs across, with their 95 % intervals."""
    table = Table(title=f"{split}, beside its baselines", caption="95 % intervals in brackets")
    table.add_column("")
    for run in rows:
        table.add_column(escape(printable(run)), justify="right")
    for name, score in next(iter(rows.values())).items():
        if isinstance(score, Mapping) and "low" in score:
            table.add_row(name, *(_cell(scores.get(name)) for scores in rows.values()))
    return table


def _cell(score: Any) -> str:
    numbers = [score.get(name) if isinstance(score, Mapping) else None for name in ("value", "low", "high")]
    if not all(isinstance(number, int | float) for number in numbers):
        return "-"
    value, low, high = numbers
    return f"{value:.3f} \\[{low:.3f}, {high:.3f}]"

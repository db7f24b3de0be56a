"""Evaluation of a run: settings and provenance of its scores, and a table of them with those of baselines. Independent
of tasks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vlrnn.provenance import provenance
from vlrnn.runs import baselines, format_score
from vlrnn.terminal import printable


def origin_of(trainer: pl.Trainer, split: str) -> dict[str, Any]:
    """The results of a split but its scores: `{"settings": {...}, "provenance": {...}}`. Where only a part of it is
    scored, the settings name the `part`."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    # From Python, a Trainer may be given loaders without a data module.
    place = {} if data is None else data.place
    part = _part(trainer, split)
    settings = {"split": split, **place, **({"part": part} if part else {})}
    device = str(trainer.strategy.root_device)
    made = {**provenance(), "checkpoint": str(trainer.ckpt_path or ""), "device": device}
    return {"settings": settings, "provenance": made}


def _part(trainer: pl.Trainer, split: str) -> str:
    """The part of a split that is scored; empty text where it is all of it."""
    parts = []
    first = getattr(trainer.datamodule, "overfit", None)  # type: ignore[attr-defined]
    if first is not None and split == "val":
        parts.append(f"the first {first} of train (--overfit)")
    name = f"limit_{split}_batches"
    limit = getattr(trainer, name)
    if isinstance(limit, int) or limit < 1:  # Lightning has 1.0 for all of them, and 1 for one
        parts.append(f"its first batches (--trainer.{name} {limit})")
    return ", ".join(parts)


def print_with_baselines(run: Path, result: Mapping[str, Any]) -> None:
    """Print the scores of a run with those of its baselines; nothing where there are none."""
    others = {path.name: scores for path, scores in baselines(run, result["settings"]).items()}
    if others:
        Console(emoji=False).print(_table({run.name: result["scores"], **others}, result["settings"]["split"]))


def _table(rows: Mapping[str, Mapping[str, Any]], split: str) -> Table:
    """Scores down, runs across, with their 95 % intervals."""
    table = Table(title=f"{split}, with its baselines", caption="95 % intervals in brackets")
    table.add_column("")
    for run in rows:
        table.add_column(escape(printable(run)), justify="right")
    for name, score in next(iter(rows.values())).items():
        if isinstance(score, Mapping) and "low" in score:
            table.add_row(name, *(escape(format_score(scores.get(name))) for scores in rows.values()))
    return table

"""Evaluation of a run: settings and provenance of its scores, and a table of them with those of baselines. Independent
of tasks."""

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import vlrnn
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
    table = Table(title=f"{split}, beside its baselines", caption="95 % intervals in brackets")
    table.add_column("")
    for run in rows:
        table.add_column(escape(printable(run)), justify="right")
    for name, score in next(iter(rows.values())).items():
        if isinstance(score, Mapping) and "low" in score:
            table.add_row(name, *(escape(format_score(scores.get(name))) for scores in rows.values()))
    return table


_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy")


def provenance() -> dict[str, str]:
    """The date (UTC), the version of this package, its commit (if it runs from a repository; followed by `, changed` if
    files differ from it), and the versions of Python and the numerical libraries."""
    found = {"date": datetime.now(UTC).isoformat(" ", "seconds"), "vlrnn": vlrnn.__version__, "commit": _commit()}
    found["python"] = platform.python_version()
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {name: value for name, value in found.items() if value}


def _commit() -> str:
    root = Path(vlrnn.__file__).parents[1]
    if not (root / ".git").exists():  # installed, perhaps within another repository
        return ""
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    return commit + (", changed" if commit and _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()

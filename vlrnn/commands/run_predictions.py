"""`--predictions RUN --split NAME`: a run folder in place of the file of its predictions."""

import argparse
from dataclasses import replace
from pathlib import Path

from vlrnn.errors import UserError
from vlrnn.probes.finding import Finding


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add `--split`, of run folders that are given as predictions."""
    parser.add_argument(
        "--split",
        choices=("train", "val", "test"),  # not from vlrnn.data.records, which imports numpy
        help="of a run folder that is given as PRED; by default test where it has scores, then val",
    )
    parser.set_defaults(takes_runs=True)


def resolve_runs(arguments: argparse.Namespace) -> None:
    """Replace run folders by the files of their predictions, and `split` by the one that is read; nothing, where a
    command takes none. The predictions of `--val` are those of val; those of `--other` are of the split of
    `--predictions`, where it has scores of it.

    Raises:
        UserError: a folder has no results of the split, or a split is named and no run folder.
    """
    if not getattr(arguments, "takes_runs", False):
        return
    from vlrnn.runs import choose_split

    named, arguments.split = arguments.split, None
    scored_on: list[tuple[str, str]] = []
    for name in ("predictions", "other", "val"):
        path = getattr(arguments, name, None)
        if path is not None and Path(path).is_dir():
            results = choose_split(path, "val" if name == "val" else named, scored_on)
            setattr(arguments, name, str(results.predictions))
            scored_on.append((results.metrics["settings"].get("data", ""), results.split))
            if name != "val":
                arguments.split = arguments.split or results.split
    if named and arguments.split != named:
        raise UserError(f"--split {named}: no run folder is given, of which it could be; leave it out")


def with_split(finding: Finding, arguments: argparse.Namespace) -> Finding:
    """A finding, with the split of the run folder that it is of among its settings."""
    if not (getattr(arguments, "takes_runs", False) and arguments.split):
        return finding
    return replace(finding, settings={**finding.settings, "split": arguments.split})

"""probe: use of the image, hallucination, bias and calibration of models. Each probe is a file of
vlrnn/commands/probes."""

import argparse
import importlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from vlrnn.commands.run_predictions import resolve_runs, with_split
from vlrnn.errors import UserError, one_line
from vlrnn.probes.finding import Finding
from vlrnn.terminal import printable

PROBES = (
    "amplification",
    "attribution",
    "calibration",
    "chair",
    "consistency",
    "dropout",
    "gender",
    "gradients",
    "grounding",
    "init",
    "pope",
    "priors",
    "scene_truth",
    "units",
)

_HEADER = 14  # how wide the header of a column is, before it goes on in the next line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name in PROBES:
        probe = importlib.import_module(f"vlrnn.commands.probes.{name}")
        each = kinds.add_parser(name, help=probe.PURPOSE, description=f"Probe: {probe.PURPOSE}")
        probe.add_arguments(each)
        each.add_argument("--resamples", type=int, default=1000, help="bootstrap samples (default 1000)")
        each.add_argument("--seed", type=int, default=0, help="of all that is drawn (default 0)")
        each.add_argument("--out", type=Path, metavar="FILE", help="write all of it as JSON")
        each.set_defaults(probe=probe.run)


def run(arguments: argparse.Namespace) -> None:
    """Probe, write what was found, and show it."""
    check_numbers(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as for vlrnn score
    resolve_runs(arguments)
    finding = with_split(arguments.probe(arguments), arguments)
    if arguments.out:
        finding.write(arguments.out)
    show(arguments.name, finding)


def check_numbers(arguments: argparse.Namespace) -> None:
    """Refuse resamples and seeds that are too small."""
    if arguments.resamples < 1:
        raise UserError(f"--resamples must be at least 1, not {arguments.resamples}")
    if arguments.seed < 0:
        raise UserError(f"--seed must not be negative, not {arguments.seed}")


def show(name: str, finding: Finding) -> None:
    """Print the scores with their intervals, the baselines' beside them, the notes and the cases."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    console = Console(highlight=False, emoji=False)  # what stands between two colons is a name
    for note in finding.notes:
        console.print(f"note: {escape(printable(note))}", soft_wrap=True)
    table = Table(
        title=f"{name} (low and high: 95 % intervals)",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("score")  # the only one that wraps: a group may have a long name
    for header in ("value", "low", "high", "n"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in finding.baselines:
        table.add_column(escape(fill(one_line(row, 100), _HEADER)), justify="right", no_wrap=True)
    baselines = [dict(_flat(scores)) for scores in finding.baselines.values()]
    titles: tuple[str, ...] = ()
    for place, score in _flat(finding.scores):
        *groups, last = place
        for depth, group in enumerate(groups):
            if place[: depth + 1] != titles[: depth + 1]:
                table.add_row("  " * depth + f"[bold]{escape(one_line(group, 100))}[/bold]")
        titles = tuple(groups)
        cells = (_value(scores.get(place)) for scores in baselines)
        numbers = (f"{score[each]:.4g}" for each in ("value", "low", "high"))
        table.add_row("  " * len(groups) + escape(one_line(last, 100)), *numbers, f"{score['n']:,}", *cells)
    # Names and numbers that are cut say nothing: where the terminal is too narrow, its lines wrap.
    width = Measurement.get(console, console.options.update(width=1000), table).maximum
    Console(highlight=False, width=max(console.width, width)).print(table)
    for score_name, reason in finding.not_computed.items():
        console.print(f"{escape(printable(f'{score_name}: not computed: {reason}'))}", soft_wrap=True)
    for case in finding.cases:
        line = "; ".join(f"{key} {value}" for key, value in case.items() if key != "id")
        console.print(printable(f"{case['id']}: {line}"), soft_wrap=True, markup=False)


def _flat(
    scores: Mapping[str, Any], groups: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Scores in one row, each by the names of its groups and its own."""
    for name, score in scores.items():
        if "value" in score:
            yield (*groups, name), score
        else:
            yield from _flat(score, (*groups, name))


def _value(score: Mapping[str, Any] | None) -> str:
    return "-" if score is None else f"{score['value']:.4g}"

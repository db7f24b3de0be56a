"""probe: use of the image, hallucination, bias and calibration of models. A probe is a function; its parameters are the
flags of the command."""

import argparse
import importlib
import os
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

from vlrnn.commands.signature import Signature
from vlrnn.errors import UserError, check_least, one_line
from vlrnn.probes.finding import Finding, named_scores
from vlrnn.terminal import print_line, printable


class Output(NamedTuple):
    """A picture, page or table of a finding.

    Attributes:
        name: of a probe the flag that takes its file; of a study the file.
        function: makes a figure of the parts if its name begins with `draw_`; or writes the file, by path and parts.
        parts: of the finding, an attribute or one of its keys: `details.heat`.
        help: of the flag.
        check: raises a UserError for the path of another kind of file.
    """

    name: str
    function: str
    parts: tuple[str, ...]
    help: str = "draw it: .png, .svg or .pdf"
    check: str = "vlrnn.report.drawing.picture_file"

    def save(self, path: Path, finding: Finding) -> None:
        """Write it."""
        parts = []
        for part in self.parts:
            attribute, _, key = part.partition(".")
            value = getattr(finding, attribute)
            parts.append(value[key] if key else value)
        if self.function.rpartition(".")[2].startswith("draw_"):
            _imported("vlrnn.report.drawing.save_figure")(_imported(self.function)(*parts), path)
        else:
            _imported(self.function)(path, *parts)
        print_line(f"written: {path}")


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


_CELLS, _UNITS = "vlrnn.report.study_plots", "vlrnn.report.unit_pages"
PROBES: dict[str, tuple[str, *tuple[Output, ...]]] = {
    "amplification": ("vlrnn.probes.amplification.probe_amplification",),
    "attribution": ("vlrnn.probes.model.attribution.attribution",),
    "calibration": ("vlrnn.probes.calibration.probe_calibration",),
    "chair": ("vlrnn.probes.chair.probe_chair",),
    "consistency": ("vlrnn.probes.consistency.probe_consistency",),
    "dropout": ("vlrnn.studies.cells.dropout.dropout", Output("picture", f"{_CELLS}.draw_dropout", ("details",))),
    "gender": ("vlrnn.probes.gender.probe_gender",),
    "gradients": (
        "vlrnn.studies.cells.gradients.gradients",
        Output("picture", f"{_CELLS}.draw_gradients", ("details.curves",)),
    ),
    "grounding": ("vlrnn.probes.model.grounding.grounding",),
    "init": (
        "vlrnn.studies.cells.initialisation.initialisation",
        Output("picture", f"{_CELLS}.draw_scales", ("details",)),
    ),
    "pope": ("vlrnn.probes.model.pope.probe_pope",),
    "priors": ("vlrnn.probes.priors.probe_priors",),
    "scene_truth": ("vlrnn.probes.scene_truth.probe_scene_truth",),
    "units": (
        "vlrnn.probes.model.hidden_units.probe_units",
        Output(
            "page",
            f"{_UNITS}.save_page",
            ("details.heat", "settings.checkpoint"),
            "write the text, coloured by activations: .html",
            f"{_UNITS}.page_file",
        ),
        Output("picture", f"{_UNITS}.draw_passages", ("details.heat",)),
    ),
}
"""Name -> the function, and the outputs of its finding."""

_HEADER = 14  # characters of a line in the header of a column
_COMMON = ("out", "overwrite", "resamples", "seed")
_NOT_FLAGS = ("find", "batch_size", "repeats", "flags")
"""Parameters for calls from Python, and `flags`, which is an argument of its own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, (path, *outputs) in PROBES.items():
        function = Signature(path)
        each = names.add_parser(name, help=function.summary, description=f"Probe: {function.summary}")
        add_flags(each, function, "of random numbers (default 0)")
        for output in outputs:
            each.add_argument(f"--{output.name}", type=Path, metavar="FILE", help=output.help)
        each.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON")
        each.set_defaults(function=function, outputs=outputs)


def add_flags(parser: argparse.ArgumentParser, function: Signature, seed: str) -> None:
    """Add the parameters of a probe or study, `--split` if its predictions may be a run folder's, and the common flags;
    `seed` is the help of `--seed`."""
    from vlrnn.text.vqa_normalization import PROTOCOLS  # which reads a file

    function.add_flags(
        parser,
        skip=(*_COMMON, *_NOT_FLAGS),
        baseline={"action": "extend"},
        cells={"type": split_cells, "metavar": "NAME,..."},
        config={"action": "append"},
        key={"action": "append", "metavar": "KEY=VALUES"},
        property={"metavar": "NAME"},
        protocol={"choices": list(PROTOCOLS)},
        trust={"action": "append", "metavar": "PACKAGE"},
        units={"type": lambda text: list(filter(None, text.split(","))), "metavar": "NAME,..."},
    )
    flags = {action.dest for action in parser._actions}
    if "predictions" in flags and "split" not in flags:
        _add_split(parser)
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap samples (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help=seed)


def split_cells(text: str) -> list[str]:
    """The recurrences in a comma-separated list, see `vlrnn.nn.recurrent.spec`."""
    from vlrnn.nn.recurrent.spec import split_cells

    return split_cells(text)


def run(arguments: argparse.Namespace) -> None:
    """Probe, write what was found, and show it."""
    check_numbers(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as for vlrnn score
    files = [(output, path) for output in arguments.outputs if (path := getattr(arguments, output.name))]
    for output, path in files:
        _imported(output.check)(path)
    finding = call(arguments)
    if arguments.out:
        finding.write(arguments.out)
    for output, path in files:
        output.save(path, finding)
    show(arguments.name, finding)


def call(arguments: argparse.Namespace) -> Finding:
    """What the probe or study finds, with the split of the run folder that it is of among its settings."""
    if takes_runs := getattr(arguments, "takes_runs", False):
        _resolve_runs(arguments)
    finding: Finding = arguments.function.call(arguments)
    if takes_runs and arguments.split:
        finding = replace(finding, settings={**finding.settings, "split": arguments.split})
    return finding


def check_numbers(arguments: argparse.Namespace) -> None:
    """Refuse resamples and seeds that are too small."""
    check_least("--resamples", arguments.resamples)
    if arguments.seed < 0:
        raise UserError(f"--seed must not be negative, not {arguments.seed}")


def show(name: str, finding: Finding) -> None:
    """Print the scores with their intervals, the baselines' beside them, the notes and the cases."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    console = Console(highlight=False, emoji=False)  # a name between two colons is no emoji
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
    baselines = [dict(named_scores(scores)) for scores in finding.baselines.values()]
    titles: tuple[str, ...] = ()
    for place, score in named_scores(finding.scores):
        *groups, last = place
        for depth, group in enumerate(groups):
            if place[: depth + 1] != titles[: depth + 1]:
                table.add_row("  " * depth + f"[bold]{escape(one_line(group, 100))}[/bold]")
        titles = tuple(groups)
        cells = (f"{scores[place]['value']:.4g}" if place in scores else "-" for scores in baselines)
        numbers = (f"{score[each]:.4g}" for each in ("value", "low", "high"))
        table.add_row("  " * len(groups) + escape(one_line(last, 100)), *numbers, f"{score['n']:,}", *cells)
    # Nothing is cut: where the terminal is too narrow, its lines wrap.
    width = Measurement.get(console, console.options.update(width=1000), table).maximum
    Console(highlight=False, width=max(console.width, width)).print(table)
    for score_name, reason in finding.not_computed.items():
        console.print(f"{escape(printable(f'{score_name}: not computed: {reason}'))}", soft_wrap=True)
    for case in finding.cases:
        line = "; ".join(f"{key} {value}" for key, value in case.items() if key != "id")
        console.print(printable(f"{case['id']}: {line}"), soft_wrap=True, markup=False)


def _add_split(parser: argparse.ArgumentParser) -> None:
    """Add `--split`, of run folders that are given as predictions. Where these have references, the flags of references
    are not required."""
    parser.add_argument(
        "--split",
        choices=("train", "val", "test"),  # not from vlrnn.data.records, which imports numpy
        help="of a run folder given as PRED; by default test if it has scores, otherwise val",
    )
    required = [each for each in parser._actions if each.required and each.dest in _REFERENCES["predictions"]]
    for action in required:
        action.required, action.help = False, f"{action.help}; by default those of the run folder"
    parser.set_defaults(takes_runs=True, required_references=[action.dest for action in required])


_REFERENCES = {"predictions": ("references", "examples"), "other": (), "val": ("val_references",)}
"""Flag that takes a run folder -> the flags whose default is its file of references."""


def _resolve_runs(arguments: argparse.Namespace) -> None:
    """Replace run folders by the files of their predictions, references that are not given by those of the run folder,
    and `split` by the one that is read. The predictions of `--val` are those of val; those of `--other` are of the
    split of `--predictions`, where it has scores of it.

    Raises:
        UserError: a folder has no results of the split, a split is named and no run folder, or references are neither
            given nor in the run folder.
    """
    from vlrnn.runs import choose_split

    named, arguments.split = arguments.split, None
    scored_on: list[tuple[str, str]] = []
    wanted = [*arguments.required_references, "val_references"]
    for name, references in _REFERENCES.items():
        path = getattr(arguments, name, None)
        if path is not None and Path(path).is_dir():
            results = choose_split(path, "val" if name == "val" else named, scored_on)
            setattr(arguments, name, str(results.predictions))
            for each in references:
                if each in wanted and getattr(arguments, each) is None and results.references:
                    setattr(arguments, each, str(results.references))
            scored_on.append((results.metrics["settings"].get("data", ""), results.split))
            if name != "val":
                arguments.split = arguments.split or results.split
    for each in arguments.required_references:
        if getattr(arguments, each) is None:
            raise UserError(
                f"--{each} is missing, and --predictions is no run folder that has references (items.jsonl)"
            )
    if named and arguments.split != named:
        raise UserError(f"--split {named}: it needs a run folder; leave it out")

"""dropout: how far is training from evaluation, and what is left of a state?"""

import argparse
from pathlib import Path

from vlrnn.probes.finding import Finding
from vlrnn.terminal import print_line

PURPOSE = "what does dropout do to activations, by both conventions, and to what a recurrence carries?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[0.1, 0.3, 0.5], help="shares that are dropped (0.1 0.3 0.5)"
    )
    parser.add_argument(
        "--cell", default="lstm", metavar="NAME", help="a recurrence, to drop between its layers (%(default)s)"
    )
    parser.add_argument("--steps", type=int, default=10, help="of a recurrence (%(default)s)")
    parser.add_argument("--width", type=int, default=128, help="of activations and states (%(default)s)")
    parser.add_argument("--draws", type=int, default=10, help="of values, weights and masks (%(default)s)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw it: .png, .svg or .pdf")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.report.cell_plots import save_dropout
    from vlrnn.report.drawing import picture_file
    from vlrnn.studies.cells.dropout import DropoutPlan, dropout

    if arguments.picture:
        picture_file(arguments.picture)
    chosen = {name: getattr(arguments, name) for name in ("rates", "cell", "steps", "width", "draws")}
    finding = dropout(DropoutPlan(**chosen), resamples=arguments.resamples, seed=arguments.seed)
    if arguments.picture:
        save_dropout(arguments.picture, finding.details)
        print_line(f"drawn: {arguments.picture}")
    return finding

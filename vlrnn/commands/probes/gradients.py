"""gradients: do gradients vanish or explode on their way back through time?"""

import argparse
from pathlib import Path

from vlrnn.probes.finding import Finding
from vlrnn.terminal import print_line

PURPOSE = "how much of a gradient comes how far back through time, by what cell?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cells",
        default="rnn,gru,lstm,lstm:forget_bias=3,lstm:chrono=100",
        metavar="NAME,...",
        help="recurrences that have learnt nothing (%(default)s)",
    )
    parser.add_argument(
        "--radii",
        type=float,
        nargs="+",
        default=[0.9, 1.0, 1.5],
        help="spectral radii of the matrix of an rnn (0.9 1 1.5)",
    )
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2], help="numbers of layers (1 2)")
    parser.add_argument("--steps", type=int, default=100, help="how far back (%(default)s)")
    parser.add_argument("--width", type=int, default=64, help="of the cells (%(default)s)")
    parser.add_argument("--scale", type=float, default=0.1, help="of what they read, uniform numbers (%(default)s)")
    parser.add_argument("--draws", type=int, default=5, help="of weights and of what is read (%(default)s)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw it: .png, .svg or .pdf")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.nn.recurrent.spec import split_cells
    from vlrnn.report.cell_plots import save_flow
    from vlrnn.report.drawing import picture_file
    from vlrnn.studies.cells.gradients import GradientsPlan, gradients

    if arguments.picture:
        picture_file(arguments.picture)
    numbers = {name: getattr(arguments, name) for name in ("radii", "layers", "steps", "width", "scale", "draws")}
    plan = GradientsPlan(split_cells(arguments.cells), **numbers)
    finding = gradients(plan, resamples=arguments.resamples, seed=arguments.seed)
    if arguments.picture:
        save_flow(arguments.picture, finding.details["curves"])
        print_line(f"drawn: {arguments.picture}")
    return finding

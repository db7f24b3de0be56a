"""init: do signals and gradients keep their size, and what do initialisation and normalisation let be learnt?"""

import argparse
from pathlib import Path

from vlrnn.probes.finding import Finding
from vlrnn.terminal import print_line

PURPOSE = "how large are signals and gradients behind many layers or steps, by initialisation and normalisation?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--initialisations",
        nargs="+",
        default=["zero", "constant", "gaussian", "xavier", "kaiming", "orthogonal"],
        metavar="NAME",
        help="of weights (zero constant gaussian xavier kaiming orthogonal)",
    )
    parser.add_argument(
        "--nonlinearities",
        nargs="+",
        default=["tanh", "relu"],
        metavar="NAME",
        help="of layers: linear, tanh, relu (tanh relu)",
    )
    parser.add_argument("--depth", type=int, default=30, help="layers, or steps of a recurrence (%(default)s)")
    parser.add_argument("--width", type=int, default=128, help="of layers (%(default)s)")
    parser.add_argument("--std", type=float, default=0.01, help="of weights that are gaussian (%(default)s)")
    parser.add_argument("--draws", type=int, default=10, help="of weights and of what goes in (%(default)s)")
    parser.add_argument("--learning_steps", type=int, default=600, help="of small networks (%(default)s)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw it: .png, .svg or .pdf")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.report.cell_plots import save_scales
    from vlrnn.report.drawing import picture_file
    from vlrnn.studies.cells.initialisation import InitialisationPlan, initialisation

    if arguments.picture:
        picture_file(arguments.picture)
    names = ("initialisations", "nonlinearities", "depth", "width", "std", "draws", "learning_steps")
    plan = InitialisationPlan(**{name: getattr(arguments, name) for name in names})
    finding = initialisation(plan, resamples=arguments.resamples, seed=arguments.seed)
    if arguments.picture:
        save_scales(arguments.picture, finding.details)
        print_line(f"drawn: {arguments.picture}")
    return finding

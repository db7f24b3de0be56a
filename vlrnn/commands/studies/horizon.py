"""horizon: for how long do recurrences remember?"""

import argparse

from vlrnn.probes.finding import Finding
from vlrnn.terminal import print_line

PURPOSE = "for how many steps do recurrences learn to remember, in the copy and the adding task?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cells", default="rnn,gru,lstm,lstm:chrono=100", metavar="NAME,...", help="recurrences (%(default)s)"
    )
    parser.add_argument("--tasks", nargs="+", default=["copy", "add"], help="copy, add (both)")
    parser.add_argument("--lengths", type=int, nargs="+", default=[8, 16, 32, 64, 128], help="in steps (8 to 128)")
    parser.add_argument("--seeds", type=int, default=2, help="how often each is learnt (%(default)s)")
    parser.add_argument("--steps", type=int, default=1000, help="of learning (%(default)s)")
    parser.add_argument("--rows", type=int, default=64, help="of a batch (%(default)s)")
    parser.add_argument("--width", type=int, default=64, help="of the cells (%(default)s)")
    parser.add_argument("--lr", type=float, default=1e-2, help="the highest learning rate (%(default)s)")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.nn.recurrent.spec import split_cells
    from vlrnn.report.cell_plots import save_horizon
    from vlrnn.studies.cells.horizon import HorizonPlan, horizon

    names = ("tasks", "lengths", "seeds", "steps", "rows", "width", "lr", "seed")
    plan = HorizonPlan(**{name: getattr(arguments, name) for name in names})
    more = {"resamples": arguments.resamples, "overwrite": arguments.overwrite}
    finding = horizon(arguments.out, split_cells(arguments.cells), plan, **more)
    picture = arguments.out / "horizon.png"
    save_horizon(picture, finding.scores, finding.settings)
    print_line(f"drawn: {picture}")
    return finding

"""sweep: which settings of a recipe do best?"""

import argparse

from vlrnn.probes.finding import Finding
from vlrnn.terminal import print_line

PURPOSE = "which settings of a recipe do best on the validation split?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", action="append", required=True, metavar="FILE", help="the recipe; overlays behind it"
    )
    parser.add_argument(
        "--key",
        action="append",
        required=True,
        metavar="KEY=VALUES",
        help="a key of the recipe, and what it may be: numbers between two, 0.0..0.5, whole ones where both are so "
        "written, 16..64; as many of each order of magnitude, log:1e-4..1e-2; or one of A,B,C, recurrences by name and "
        "other classes by path among them",
    )
    parser.add_argument("--trials", type=int, default=20, help="how many settings are tried (%(default)s)")
    parser.add_argument(
        "--sampler",
        choices=("tpe", "random"),
        default="tpe",
        help="what proposes them: TPE, which learns from the trials before, or chance (%(default)s)",
    )
    parser.add_argument("flags", nargs="*", metavar="-- --KEY VALUE", help="of the recipe, as vlrnn fit takes them")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.report.study_plots import save_sweep, write_trials
    from vlrnn.studies.sweep import SweepPlan, sweep

    given = {name: getattr(arguments, name) for name in ("trials", "flags", "sampler", "seed")}
    finding = sweep(arguments.out, SweepPlan(arguments.config, arguments.key, **given), overwrite=arguments.overwrite)
    save_sweep(arguments.out / "sweep.png", finding.details, finding.settings)
    write_trials(arguments.out / "sweep.csv", finding.details, finding.settings)
    print_line(f"drawn: {arguments.out / 'sweep.png'}; as a table: {arguments.out / 'sweep.csv'}")
    print_line(f"the best as an overlay: {arguments.out / 'best.yaml'}")
    return finding

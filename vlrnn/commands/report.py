"""report: a page of one or several runs, with their examples, probes and comparison."""

import argparse
from pathlib import Path

from vlrnn.terminal import print_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folders, the first is compared with the others; studies"
    )
    parser.add_argument(
        "--out",
        metavar="FILE.html",
        help=".md and .json of that name are written, too; by default report.html in the first RUN",
    )
    parser.add_argument(
        "--baseline",
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs of baselines; RUN-* of the same examples are baselines anyway",
    )
    parser.add_argument(
        "--split",
        choices=("train", "val", "test"),
        help="by default test if it has scores, otherwise val; for further runs the split of the first",
    )
    parser.add_argument("--examples", type=int, default=1000, help="shown for each data set (%(default)s)")
    parser.add_argument("--thumbnail", type=int, default=192, metavar="PIXELS", help="of pictures (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap and of the random examples (%(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Write the report; print its path and size."""
    import os

    from vlrnn.report.page import write_report

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as for vlrnn score
    page, *companions = write_report(
        arguments.runs,
        arguments.out or Path(arguments.runs[0]) / "report.html",
        baselines=arguments.baseline,
        examples=arguments.examples,
        thumbnail=arguments.thumbnail,
        seed=arguments.seed,
        split=arguments.split,
    )
    size = page.stat().st_size / 2**20
    print_line(f"open {page} ({size:.1f} MiB; {' and '.join(each.name for each in companions)} beside it)")

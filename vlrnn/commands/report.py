"""report: a page of one or several runs, with their examples, probes and comparison."""

import argparse
import os

from vlrnn.commands.signature import Signature
from vlrnn.terminal import print_line

_FUNCTION = Signature("vlrnn.report.page.write_report")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    metavars = {"runs": "RUN", "out": "FILE.html", "baseline": "RUN", "thumbnail": "PIXELS"}
    _FUNCTION.add_flags(parser, **{name: {"metavar": metavar} for name, metavar in metavars.items()})


def run(arguments: argparse.Namespace) -> None:
    """Write the report; print its path and size."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as for vlrnn score
    page, *companions = _FUNCTION.call(arguments)
    size = page.stat().st_size / 2**20
    print_line(f"open {page} ({size:.1f} MiB; {' and '.join(each.name for each in companions)} beside it)")

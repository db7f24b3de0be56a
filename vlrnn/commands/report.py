"""report: an HTML page of one or several runs."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders; the captions shown are those of the first")
    parser.add_argument("--out", required=True, metavar="FILE.html")
    parser.add_argument("--examples", type=int, default=24, help="how many captions to show")


def run(arguments: argparse.Namespace) -> None:
    """Write the page."""
    from vlrnn.report.page import write_report

    write_report(arguments.runs, arguments.out, arguments.examples)
    print(f"open {arguments.out}")

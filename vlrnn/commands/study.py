"""study: what is learnt by training several models. Each study is a file of vlrnn/commands/studies."""

import argparse
import importlib
from dataclasses import replace
from pathlib import Path

from vlrnn.commands.out_folder import add_overwrite, of_one_process
from vlrnn.commands.probe import check_numbers, show
from vlrnn.commands.run_predictions import resolve_runs, with_split

STUDIES = ("dose-response", "horizon", "leakage", "recurrences", "sweep")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name in STUDIES:
        study = importlib.import_module(f"vlrnn.commands.studies.{name.replace('-', '_')}")
        each = kinds.add_parser(name, help=study.PURPOSE, description=f"Study: {study.PURPOSE}")
        study.add_arguments(each)
        each.add_argument("--resamples", type=int, default=1000, help="bootstrap samples (default 1000)")
        each.add_argument("--seed", type=int, default=0, help="the first, of all that is drawn (default 0)")
        each.add_argument(
            "--out",
            type=Path,
            default=Path("runs", name),
            metavar="FOLDER",
            help="gets metrics.json; what is there already is not made again (default %(default)s)",
        )
        add_overwrite(each)
        each.set_defaults(study=study.run)


def run(arguments: argparse.Namespace) -> None:
    """Study, write what was found into `metrics.json` of the folder, and show it."""
    check_numbers(arguments)
    resolve_runs(arguments)
    with of_one_process(arguments.out):
        finding = with_split(arguments.study(arguments), arguments)
        finding = replace(finding, settings={"study": arguments.name, **finding.settings})
        finding.write(arguments.out / "metrics.json")
    show(arguments.name, finding)

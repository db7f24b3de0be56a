"""study: what is learnt by training several models. Each study is a file of vlrnn/commands/studies."""

import argparse
import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from vlrnn.commands.probe import check_numbers, show
from vlrnn.commands.run_predictions import resolve_runs, with_split
from vlrnn.errors import UserError
from vlrnn.files import alone

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


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """The flag of what has a folder of its own."""
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew; what is in the folder is moved to NAME.old-N first"
    )


@contextmanager
def of_one_process(out: Path) -> Iterator[None]:
    """Have the folder for this process alone; it goes where nothing came of it.

    Raises:
        UserError: another one works in it.
    """

    def refuse() -> None:
        raise UserError(f"{out}: another process works in it; wait for it, or choose another --out")

    with alone(out, refuse):
        try:
            yield
        finally:
            with suppress(OSError):
                out.rmdir()  # which only one that is empty lets be done


def run(arguments: argparse.Namespace) -> None:
    """Study, write what was found into `metrics.json` of the folder, and show it."""
    check_numbers(arguments)
    resolve_runs(arguments)
    with of_one_process(arguments.out):
        finding = with_split(arguments.study(arguments), arguments)
        finding = replace(finding, settings={"study": arguments.name, **finding.settings})
        finding.write(arguments.out / "metrics.json")
    show(arguments.name, finding)

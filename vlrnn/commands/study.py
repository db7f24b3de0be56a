"""study: experiments that train several models. A study is a function; its parameters are the flags of the command."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vlrnn.commands.probe import Output, add_flags, call, check_numbers, show
from vlrnn.commands.signature import Signature
from vlrnn.errors import UserError
from vlrnn.processes import alone

_PLOTS = "vlrnn.report.study_plots"
STUDIES: dict[str, tuple[str, *tuple[Output, ...]]] = {
    "dose-response": (
        "vlrnn.studies.dose_response.dose_response",
        Output("dose-response.png", f"{_PLOTS}.draw_dose_response", ("scores", "settings")),
    ),
    "horizon": (
        "vlrnn.studies.cells.horizon.horizon",
        Output("horizon.png", f"{_PLOTS}.draw_horizon", ("scores", "settings")),
    ),
    "leakage": ("vlrnn.studies.leakage.study_leakage",),
    "recurrences": (
        "vlrnn.studies.recurrences.recurrences",
        Output("recurrences.png", f"{_PLOTS}.draw_recurrences", ("scores", "settings")),
        Output("recurrences.csv", f"{_PLOTS}.write_table", ("scores", "details.seeds")),
    ),
    "sweep": (
        "vlrnn.studies.sweep.sweep",
        Output("sweep.png", f"{_PLOTS}.draw_sweep", ("details", "settings")),
        Output("sweep.csv", f"{_PLOTS}.write_trials", ("details", "settings")),
    ),
}
"""Name -> the function, and the outputs of its finding, files in the folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, (path, *outputs) in STUDIES.items():
        function = Signature(path)
        each = names.add_parser(name, help=function.summary, description=f"Study: {function.summary}")
        add_flags(each, function, "the first, of random numbers (default 0)")
        if name in ("recurrences", "sweep"):
            flags = "of the recipe, as for vlrnn fit"
            each.add_argument("flags", nargs="*", metavar="-- --KEY VALUE", help=flags)
        each.add_argument(
            "--out",
            type=Path,
            default=Path("runs", name),
            metavar="FOLDER",
            help="gets metrics.json; finished parts are not repeated (default %(default)s)",
        )
        add_overwrite(each)
        each.set_defaults(function=function, outputs=outputs)


def run(arguments: argparse.Namespace) -> None:
    """Run the study, write its finding to `metrics.json` of the folder, and print it."""
    check_numbers(arguments)
    with own_folder(arguments.out):
        finding = call(arguments)
        for output in arguments.outputs:
            output.save(arguments.out / output.name, finding)
        finding = finding.with_input({"study": arguments.name})
        finding.write(arguments.out / "metrics.json")
    show(arguments.name, finding)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add `--overwrite`, for commands with a folder of their own."""
    parser.add_argument(
        "--overwrite", action="store_true", help="start again; the contents of the folder are moved to NAME.old-N first"
    )


@contextmanager
def own_folder(out: Path) -> Iterator[None]:
    """Lock the folder for this process; remove it at the end if it is empty.

    Raises:
        UserError: another process uses it.
    """

    def refuse() -> None:
        raise UserError(f"{out}: another process works in it; wait for it, or choose another --out")

    with alone(out, refuse):
        try:
            yield
        finally:
            with suppress(OSError):
                out.rmdir()  # raises for one that is not empty

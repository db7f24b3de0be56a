"""The folder that a study or the quickstart owns: the flag that replaces it, and the lock on it."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vlrnn.errors import UserError
from vlrnn.processes import alone


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

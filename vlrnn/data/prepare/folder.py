"""The script for a folder of images of one's own, with a table of what is said about them."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from vlrnn.data.formats.base import ImageFolder, SkipReport, Splits
from vlrnn.data.images import find_images
from vlrnn.data.prepare.base import publish, script, script_parser
from vlrnn.errors import UserError
from vlrnn.terminal import print_line

Reader = Callable[[Path, ImageFolder, Sequence[float], int], Splits]
"""What reads a table: a function of its path, the folder of images, the shares of the splits and the seed."""


def folder_script(description: str, what: str, columns: Sequence[str], read: Reader, argv: Sequence[str] | None) -> int:
    """Run a script; returns the exit code.

    Args:
        description: of the script.
        what: is in the table, in the singular; the option that names it is the plural.
        columns: of the table, for the help.
        read: reads the table.
        argv: by default the command line.
    """
    parser = script_parser(description, "the folder of images")
    parser.add_argument(
        f"--{what}s",
        dest="table",
        type=Path,
        required=True,
        metavar="FILE",
        help=f"CSV ({', '.join(columns)}), JSON or JSON lines",
    )
    parser.add_argument(
        "--shares", type=_shares, default=(0.8, 0.1, 0.1), metavar="TRAIN,VAL,TEST", help="default 0.8,0.1,0.1"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other splits")
    parser.add_argument("--name", default=None, help="of the data set; by default the folder's")
    parser.add_argument("--licence", default="unknown", help="told in dataset.json")
    return script(parser, lambda options: _prepare(options, what, read), argv)


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError:
        raise UserError(f"--shares {text}: must be three numbers, of train, val and test: 0.8,0.1,0.1") from None


def _prepare(options: argparse.Namespace, what: str, read: Reader) -> None:
    """Read, clean, write, and tell."""
    if not options.source.is_dir():
        raise UserError(f"{options.source}: no such folder")
    splits = read(options.table, ImageFolder(options.source), options.shares, options.seed)
    listed = {example.image for examples in splits.values() for example in examples}
    dropped = SkipReport()
    for path in find_images(options.source):
        if (image := path.relative_to(options.source).as_posix()) not in listed:
            dropped.add(f"image without a {what}", image)
    print_line(f"read {options.table}")
    publish(
        options.out,
        splits,
        options.source,
        dropped,
        name=options.name or options.source.resolve().name,
        source=str(options.table),
        licence=options.licence,
        check=not options.unchecked,
        seed=options.seed,
    )

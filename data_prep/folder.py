"""Prepare any folder of images with a CSV or JSON of captions; splits stand there or are drawn."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlrnn.data.caption_table import read_table, split_rows
from vlrnn.data.images import find_images
from vlrnn.data.prepare import Dropped, publish, script, script_parser
from vlrnn.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = script_parser(__doc__ or "", "the folder of images")
    parser.add_argument(
        "--captions", type=Path, required=True, metavar="FILE", help="CSV (image, caption, split) or JSON"
    )
    parser.add_argument(
        "--shares",
        type=_shares,
        default=(0.8, 0.1, 0.1),
        metavar="TRAIN,VAL,TEST",
        help="default 0.8,0.1,0.1",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other splits")
    parser.add_argument("--name", default=None, help="of the data set; by default the folder's")
    parser.add_argument("--licence", default="unknown", help="told in dataset.json")
    return script(parser, prepare, argv)


def _shares(text: str) -> tuple[float, ...]:
    return tuple(float(share) for share in text.split(","))


def prepare(options: argparse.Namespace) -> None:
    """Read, clean, write, and tell."""
    if not options.source.is_dir():
        raise UserError(f"{options.source}: no such folder")
    splits = split_rows(read_table(options.captions), options.shares, options.seed)
    told = {example.image for examples in splits.values() for example in examples}
    dropped = Dropped()
    for path in find_images(options.source):
        if (image := path.relative_to(options.source).as_posix()) not in told:
            dropped.add("image without a caption", image)
    print(f"read {options.captions}")
    publish(
        options.out,
        splits,
        options.source,
        dropped,
        name=options.name or options.source.resolve().name,
        source=str(options.captions),
        licence=options.licence,
        check=not options.unchecked,
        seed=options.seed,
    )


if __name__ == "__main__":
    sys.exit(main())

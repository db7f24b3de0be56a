"""Put the images of a prepared data set into tar files of many images each: large and distant disks read them faster.

Each tar file is a shard of webdataset too: every image stands beside a JSON file of what is said or asked about it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlrnn.data.prepare.base import script
from vlrnn.data.shards import write_shards
from vlrnn.errors import Parser
from vlrnn.terminal import print_line


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = Parser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the folder of a prepared data set")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the sharded data set goes")
    parser.add_argument("--size", type=float, default=1024, metavar="MIB", help="how large a shard becomes, about")
    return script(parser, prepare, argv)


def prepare(options: argparse.Namespace) -> None:
    """Pack, and tell."""
    for split, (images, shards) in write_shards(options.source, options.out, options.size).items():
        print_line(f"{split}: {images:,} images in {shards:,} shards")
    print_line(f"written to {options.out}")


if __name__ == "__main__":
    sys.exit(main())

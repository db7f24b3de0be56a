"""Make synthetic scenes: FOLDER/images, and FOLDER/captions and FOLDER/vqa, which are prepared data sets."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlrnn.data.prepare.base import script
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.errors import Parser
from vlrnn.terminal import print_line

_Defaults = argparse.ArgumentDefaultsHelpFormatter


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = Parser(description=__doc__, formatter_class=_Defaults)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to")
    for split, count in (("train", 4000), ("val", 500), ("test", 1000)):
        parser.add_argument(f"--{split}", type=int, default=count, metavar="N", help=f"scenes in {split}")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other scenes")
    parser.add_argument("--bias", type=float, default=0.0, help="0 to 1: how surely a ring comes with a star")
    parser.add_argument("--image_size", type=int, default=96, metavar="PIXELS", help="of a side")
    parser.add_argument("--max_objects", type=int, default=4, metavar="N", help="1 to 4 objects in a scene")
    parser.add_argument("--questions", type=int, default=5, metavar="N", help="about a scene, at most")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes")
    return script(parser, make, argv)


def make(options: argparse.Namespace) -> None:
    """Make the scenes and print what there is."""
    settings = vars(options).copy()
    description = make_scenes(settings.pop("out"), **settings)
    for split, rates in description["scenes"].items():
        print_line(f"{split}: " + ", ".join(f"{name} {value}" for name, value in rates.items()))
    print_line(f"written to {options.out}: images, captions, vqa")


if __name__ == "__main__":
    sys.exit(main())

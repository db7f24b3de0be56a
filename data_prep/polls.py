"""Make polls of any annotations of objects: yes/no questions, as `vlrnn probe pope` takes them.

Writes `random.json`, `popular.json` and `adversarial.json` in the form of the published polls (POPE, Li et al. 2023).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlrnn.data.prepare.base import script
from vlrnn.errors import Parser, UserError
from vlrnn.probes.object_annotations import read_object_sets
from vlrnn.probes.pope_questions import make_polls, write_polls
from vlrnn.terminal import print_line


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "objects", metavar="OBJECTS", help='{"image id": [names]} as JSON, a prepared .jsonl, or COCO\'s instances'
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--per_image", type=int, default=6, help="questions about an image; default %(default)s")
    parser.add_argument("--images", type=int, metavar="N", help="so many images, drawn by chance; by default all")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn; default %(default)s")
    return script(parser, prepare, argv)


def prepare(options: argparse.Namespace) -> None:
    """Read, draw, write, and tell."""
    if options.per_image < 2 or (options.images is not None and options.images < 1):
        raise UserError("--per_image must be at least 2, and --images at least 1")
    known = read_object_sets(options.objects)
    polls = make_polls(known, per_image=options.per_image, images=options.images, seed=options.seed)
    write_polls(options.out, polls)
    for kind, lines in polls.items():
        print_line(f"{kind}: {len(lines):,} questions about {len({line['image_id'] for line in lines}):,} images")
    print_line(f"written to {options.out}")


if __name__ == "__main__":
    sys.exit(main())

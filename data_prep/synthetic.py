"""Make synthetic scenes: pictures with captions, objects, questions and answers.

    python data_prep/synthetic.py --out data/scenes
"""

import argparse
import sys
from collections.abc import Sequence

from vlrnn.data.synthetic import make_scenes
from vlrnn.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make synthetic scenes with captions, objects, questions and answers.")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="gets images/, captions/ and vqa/")
    parser.add_argument("--train", type=int, default=4000, help="scenes (%(default)s)")
    parser.add_argument("--val", type=int, default=500, help="scenes (%(default)s)")
    parser.add_argument("--test", type=int, default=1000, help="scenes (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bias", type=float, default=0.0, help="0..1: how often a star of train brings a ring along")
    parser.add_argument("--image_size", type=int, default=96, help="pixels of a side (%(default)s)")
    parser.add_argument("--max_objects", type=int, default=4, help="1..4 (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (%(default)s)")
    options = vars(parser.parse_args(arguments))
    try:
        made = make_scenes(options.pop("out"), **options)
    except UserError as fault:
        print(f"synthetic: {fault}", file=sys.stderr)
        return 2
    for split, counts in made["counts"].items():
        together = made["co_occurrence"][split]
        print(f"{split}: {counts['images']} scenes, {counts['captions']} captions; of those with a star, {together} have a ring")
    print(f"held out of train: {', '.join(made['held_out'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

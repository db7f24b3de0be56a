"""Shift the priors of the answers of any prepared data set of questions: train and val get one, test its reverse.

The results are `FOLDER/shifted`, and `FOLDER/same`, whose test has the priors of train: what a model wins on the one is
to be held against what it loses on the other.
"""

import argparse
import sys
from collections.abc import Sequence

from vlrnn.data.prepare import Dropped, publish, script, script_parser
from vlrnn.data.shifting import draw_order, shift
from vlrnn.errors import UserError
from vlrnn.records import describe_dataset, open_split


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = script_parser(__doc__ or "", "the folder of a prepared data set of questions, with train, val and test")
    parser.add_argument(
        "--strength",
        type=float,
        default=0.9,
        metavar="S",
        help="how rare the rarest answer of a type becomes beside the most frequent, 0 to below 1; default %(default)s",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order of the answers; default %(default)s")
    return script(parser, prepare, argv)


def prepare(options: argparse.Namespace) -> None:
    """Read, leave out, write, and tell."""
    about = describe_dataset(options.source)
    splits = {split: list(open_split(options.source, split)) for split in ("train", "val", "test")}
    if not any(example.question and example.answers for example in splits["train"]):
        raise UserError(f"{options.source}/train.jsonl: holds no questions with answers")
    order = draw_order(splits["train"], options.seed)
    leave = {"strength": options.strength, "seed": options.seed}
    seen = {split: shift(splits[split], order, **leave) for split in ("train", "val")}
    for name, more in (
        ("shifted", {**seen, "test": shift(splits["test"], order, **leave, reverse=True)}),
        ("same", {"test": shift(splits["test"], order, **leave)}),
    ):
        publish(
            options.out / name,
            more,
            options.source / about.get("image_root", "."),
            Dropped(),
            name=f"{about.get('name', options.source.resolve().name)}, {name} priors",
            source=about.get("source", "unknown"),
            licence=about.get("licence", "unknown"),
            check=not options.unchecked,
            **leave,
        )


if __name__ == "__main__":
    sys.exit(main())

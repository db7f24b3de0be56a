"""Shift the priors of the answers of any prepared data set of questions: train and val get one, test its reverse.

A data set that has no test, or one without answers, is tested on its val; a val that lacks then is cut from train by
image. The results are `FOLDER/shifted`, and `FOLDER/same`, whose test has the priors of train: what a model wins on the
one is to be held against what it loses on the other.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlrnn.data.formats.base import SkipReport, Splits
from vlrnn.data.prepare.base import publish, script, script_parser
from vlrnn.data.prior_shift import draw_order, shift
from vlrnn.data.records import SPLITS, describe_dataset, open_split
from vlrnn.data.splits import cut_dev, dev_share
from vlrnn.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = script_parser(__doc__ or "", "the folder of a prepared data set of questions")
    parser.add_argument(
        "--strength",
        type=float,
        default=0.9,
        metavar="S",
        help="how rare the rarest answer of a type becomes beside the most frequent, 0 to below 1; default %(default)s",
    )
    parser.add_argument(
        "--dev",
        type=dev_share,
        default=0.1,
        metavar="N",
        help="images cut from train for a val or test that lacks; below 1 a share; default %(default)s",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order of the answers; default %(default)s")
    return script(parser, prepare, argv)


def prepare(options: argparse.Namespace) -> None:
    """Read, leave out, write, and tell."""
    about = describe_dataset(options.source)
    splits = _divided(options.source, options.dev, options.seed)
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
            SkipReport(),
            name=f"{about.get('name', options.source.resolve().name)}, {name} priors",
            source=about.get("source", "unknown"),
            licence=about.get("licence", "unknown"),
            check=not options.unchecked,
            **leave,
        )


def _divided(source: Path, dev: float, seed: int) -> Splits:
    """Train, val and test of a data set, all with answers; what lacks is cut from train by image.

    Raises:
        UserError: there is no train with answers, or nothing is cut from it.
    """
    there = [split for split in SPLITS if (source / f"{split}.jsonl").is_file()]
    read = {split: list(open_split(source, split)) for split in there}
    splits = {split: each for split, each in read.items() if any(one.question and one.answers for one in each)}
    if "train" not in splits:
        raise UserError(f"{source}/train.jsonl: holds no questions with answers")
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
        print("test: val stands in its place, as there is none with answers")
    for split in ("test", "val"):
        if split not in splits:
            cut = cut_dev(splits["train"], dev, seed)
            if "val" not in cut:
                raise UserError(f"--dev {dev:g}: there is no {split}, and of train's images none is cut for it")
            splits |= {"train": cut["train"], split: cut["val"]}
            print(f"{split}: {len({each.image_id for each in cut['val']}):,} images, cut from train")
    return splits


if __name__ == "__main__":
    sys.exit(main())

"""Prepare DAQUAR from its raw two-line files; val, or the folds of a cross-validation, are cut from train by image."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlrnn.data.formats.base import SkipReport, Splits
from vlrnn.data.formats.daquar import read_daquar
from vlrnn.data.images import find_images
from vlrnn.data.prepare.base import find_first, publish, script, script_parser
from vlrnn.data.records import Example
from vlrnn.data.splits import add_dev_options, cut_dev, cut_fold
from vlrnn.errors import UserError
from vlrnn.terminal import print_line

_IMAGE_FOLDERS = ("images", "nyu_depth_images")
_QUESTION_FILES = ("qa.{}.txt", "qa.894.raw.{}.txt", "qa.37.raw.{}.txt")


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = script_parser(__doc__ or "", "the folder with qa.train.txt, perhaps qa.test.txt, and images/")
    add_dev_options(parser)
    parser.add_argument("--folds", type=int, metavar="K", help="cut train by image into K folds, for cross-validation")
    parser.add_argument(
        "--fold", type=int, metavar="I", help="which of them, 1 to K, is test; val is cut from the rest"
    )
    return script(parser, prepare, argv)


def prepare(options: argparse.Namespace) -> None:
    """Read, clean, write, and tell."""
    if (options.folds is None) != (options.fold is None):
        raise UserError("--folds and --fold go together: how many, and which of them is test")
    image_root = find_first([options.source / folder for folder in _IMAGE_FOLDERS], "folder of images")
    images, dropped = find_images(image_root), SkipReport()
    about = {"dev": options.dev, "seed": options.seed}
    train = _read(options.source, "train", images, dropped)
    test: Splits = {}
    if options.folds is not None:
        train, test["test"] = cut_fold(train, options.folds, options.fold, options.seed)
        about |= {"folds": options.folds, "fold": options.fold}
        print_line(f"test is fold {options.fold} of {options.folds}, of the images of the official train split")
    elif any(path.is_file() for path in _question_files(options.source, "test")):
        test["test"] = _read(options.source, "test", images, dropped)
    publish(
        options.out,
        cut_dev(train, options.dev, options.seed) | test,
        image_root,
        dropped,
        name="DAQUAR",
        source="Malinowski and Fritz, NIPS 2014, over NYU-Depth v2",
        licence="research only",
        check=not options.unchecked,
        **about,
    )


def _question_files(folder: Path, split: str) -> list[Path]:
    return [folder / name.format(split) for name in _QUESTION_FILES]


def _read(folder: Path, split: str, images: Sequence[Path], dropped: SkipReport) -> list[Example]:
    path = find_first(_question_files(folder, split), f"{split} questions")
    listed = folder / f"{split}_images.txt"
    examples = read_daquar(path, split, images, listed if listed.is_file() else None, dropped)
    lists = listed.name if listed.is_file() else "no list of images"
    print_line(f"read {path}: {len(examples):,} questions, {lists}")
    return examples


if __name__ == "__main__":
    sys.exit(main())

"""Prepare COCO captions by the official captions_*.json and instances_*.json, or by Karpathy's splits."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlrnn.data.formats.base import SPLIT_NAMES, SkipReport, Splits
from vlrnn.data.formats.coco import name_by_files, read_coco
from vlrnn.data.formats.karpathy import read_karpathy
from vlrnn.data.prepare.base import publish, script, script_parser
from vlrnn.data.records import SPLITS
from vlrnn.errors import UserError
from vlrnn.terminal import print_line

COCO_SOURCE = "Lin et al., ECCV 2014; Chen et al., arXiv 1504.00325"
COCO_LICENCE = "annotations CC BY 4.0; photographs under the terms of Flickr"


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = script_parser(__doc__ or "", "the folder with annotations/ and the images (train2017/, val2017/, ...)")
    parser.add_argument(
        "--karpathy", type=Path, metavar="FILE", help="dataset_coco.json: take captions and splits from there"
    )
    parser.add_argument(
        "--captions",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="instead of all captions in SOURCE/annotations",
    )
    parser.add_argument("--split", choices=SPLITS, help="of the captions, instead of what the file names say")
    return script(parser, prepare, argv)


def prepare(options: argparse.Namespace) -> None:
    """Read, clean, write, and tell."""
    dropped = SkipReport()
    if options.karpathy:
        name, splits = read_karpathy(options.karpathy, options.source)
        print_line(f"read {options.karpathy}: {sum(map(len, splits.values())):,} images of {name}")
    else:
        name, splits = "coco", _official(options, dropped)
    publish(
        options.out,
        splits,
        options.source,
        dropped,
        name=name + (", Karpathy's splits" if options.karpathy else ""),
        source=COCO_SOURCE if name == "coco" else str(options.karpathy.name),
        licence=COCO_LICENCE if name == "coco" else f"that of {name}",
        check=not options.unchecked,
    )


def _official(options: argparse.Namespace, dropped: SkipReport) -> Splits:
    files = options.captions or sorted((options.source / "annotations").glob("captions_*.json"))
    if not files:
        raise UserError(f"{options.source}: no annotations/captions_*.json; name the file with --captions")
    splits: Splits = {}
    for captions in files:
        part = captions.stem.removeprefix("captions_")  # val2017
        split = options.split or SPLIT_NAMES.get(part.rstrip("0123456789"))
        if split is None:
            raise UserError(f"{captions}: its name does not tell the split; name it with --split")
        instances = captions.with_name(f"instances_{part}.json")
        places = (part, f"images/{part}", "images")
        folder = next((place for place in places if (options.source / place).is_dir()), "")
        examples = read_coco(captions, instances if instances.is_file() else None, folder, dropped)
        splits.setdefault(split, []).extend(examples)
        print_line(f"read {captions}, " + (instances.name if instances.is_file() else "no instances beside it"))
    return name_by_files(splits, options.source)


if __name__ == "__main__":
    sys.exit(main())

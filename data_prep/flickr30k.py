"""Prepare Flickr30k from its official files: the token file, the split lists that are there, the images."""

import argparse
import sys
from collections.abc import Sequence

from vlrnn.data.prepare.base import script, script_parser
from vlrnn.data.prepare.flickr import prepare_flickr


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = script_parser(__doc__ or "", "the folder with results_20130124.token, train.txt, ..., and the images")
    return script(parser, prepare, argv)


def prepare(options: argparse.Namespace) -> None:
    """Read, clean, write, and tell."""
    prepare_flickr(
        options,
        name="Flickr30k",
        source="Young, Lai, Hodosh and Hockenmaier, TACL 2014",
        tokens=("results_20130124.token", "flickr30k/results_20130124.token"),
        images=("images", "flickr30k-images", "flickr30k_images"),
        split_lists={
            split: (f"{split}.txt", f"flickr30k_{split}.txt", f"flickr30k_entities/{split}.txt")
            for split in ("train", "val", "test")
        },
    )


if __name__ == "__main__":
    sys.exit(main())

"""Prepare Flickr8k from its official files: the token file, the split lists that are there, the images."""

import argparse
import sys
from collections.abc import Sequence

from vlrnn.data.prepare.base import script, script_parser
from vlrnn.data.prepare.flickr import prepare_flickr


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = script_parser(__doc__ or "", "the folder with Flickr8k.token.txt, the split lists and the images")
    return script(parser, prepare, argv)


def prepare(options: argparse.Namespace) -> None:
    """Read, clean, write, and tell."""
    prepare_flickr(
        options,
        name="Flickr8k",
        source="Hodosh, Young and Hockenmaier, JAIR 2013",
        tokens=("Flickr8k.token.txt", "Flickr8k_text/Flickr8k.token.txt"),
        images=("images", "Flicker8k_Dataset", "Flickr8k_Dataset", "Images"),  # [sic]
        split_lists={
            "train": ("Flickr_8k.trainImages.txt", "Flickr8k_text/Flickr_8k.trainImages.txt"),
            "val": ("Flickr_8k.devImages.txt", "Flickr8k_text/Flickr_8k.devImages.txt"),
            "test": ("Flickr_8k.testImages.txt", "Flickr8k_text/Flickr_8k.testImages.txt"),
        },
    )


if __name__ == "__main__":
    sys.exit(main())

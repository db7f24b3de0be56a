"""Prepare any folder of images with a CSV or JSON of captions; splits stand there or are drawn."""

import sys
from collections.abc import Sequence

from vlrnn.data.formats.table import read_captions
from vlrnn.data.prepare.folder import folder_script


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    return folder_script(__doc__ or "", "caption", ["image", "caption", "split"], read_captions, argv)


if __name__ == "__main__":
    sys.exit(main())

"""Make a running text for language models: people talk about synthetic scenes, a paragraph on each line."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlrnn.data.prepare.base import script
from vlrnn.data.synthetic.dataset import paragraphs
from vlrnn.errors import Parser, UserError
from vlrnn.files import replacing
from vlrnn.terminal import print_line


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = Parser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.txt", help="where to")
    parser.add_argument("--paragraphs", type=int, default=3000, metavar="N", help="each of another scene")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another text")
    return script(parser, make, argv)


def make(options: argparse.Namespace) -> None:
    """Write the text, and say how long it is."""
    if options.paragraphs < 1:
        raise UserError(f"--paragraphs must be at least 1, not {options.paragraphs}")
    text = "".join(f"{each}\n" for each in paragraphs(options.paragraphs, options.seed))
    with replacing(options.out) as file:
        file.write(text)
    print_line(f"written to {options.out}: {options.paragraphs:,} paragraphs, {len(text):,} characters")


if __name__ == "__main__":
    sys.exit(main())

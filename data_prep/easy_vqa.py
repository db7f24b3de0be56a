"""Prepare easy-VQA from its files: questions.json and the images of train and test, and answers.txt."""

import argparse
import sys
from collections.abc import Sequence

from vlrnn.data.formats.base import SkipReport
from vlrnn.data.formats.easy_vqa import read_easy_vqa
from vlrnn.data.prepare.base import publish, script, script_parser
from vlrnn.data.splits import add_dev_options, cut_dev
from vlrnn.files import read_text
from vlrnn.terminal import print_line


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = script_parser(__doc__ or "", "the folder with answers.txt, train/ and test/")
    add_dev_options(parser)
    return script(parser, prepare, argv)


def prepare(options: argparse.Namespace) -> None:
    """Read, clean, write, and tell."""
    dropped = SkipReport()
    answers = {line.strip() for line in read_text(options.source / "answers.txt").split("\n")}
    train, test = (read_easy_vqa(options.source, split, answers, dropped) for split in ("train", "test"))
    print_line(f"read {options.source}: {len(train):,} questions of train, {len(test):,} of test")
    publish(
        options.out,
        cut_dev(train, options.dev, options.seed) | {"test": test},
        options.source,
        dropped,
        name="easy-VQA",
        source="V. Zhou, easy-VQA, 2019",
        licence="MIT",
        check=not options.unchecked,
        dev=options.dev,
        seed=options.seed,
    )


if __name__ == "__main__":
    sys.exit(main())

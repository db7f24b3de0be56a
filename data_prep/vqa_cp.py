"""Prepare VQA-CP, v1 or v2, from its official files; it has no val, so one is cut from train by image."""

import argparse
import sys
from collections.abc import Sequence

from vlrnn.data.formats.base import SkipReport
from vlrnn.data.formats.vqa import LICENCE, read_vqa
from vlrnn.data.prepare.base import publish, script
from vlrnn.data.prepare.vqa import find_photographs, find_vqa_file, vqa_parser
from vlrnn.data.records import Example
from vlrnn.data.splits import add_dev_options, cut_dev
from vlrnn.errors import UserError
from vlrnn.terminal import print_line


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = vqa_parser(__doc__ or "")
    add_dev_options(parser)
    return script(parser, prepare, argv)


def prepare(options: argparse.Namespace) -> None:
    """Read, clean, write, and tell."""
    image_root = find_photographs(options.source, options.images)
    dropped = SkipReport()
    train, test = (_read(options, split, dropped) for split in ("train", "test"))
    publish(
        options.out,
        cut_dev(train, options.dev, options.seed) | {"test": test},
        image_root,
        dropped,
        name=f"VQA-CP v{options.version}",
        source="Agrawal et al., CVPR 2018",
        licence=LICENCE,
        check=not options.unchecked,
        test_shares_images=True,  # its splits are by the answers: questions about one image are in both
        dev=options.dev,
        seed=options.seed,
    )


def _read(options: argparse.Namespace, split: str, dropped: SkipReport) -> list[Example]:
    names = [f"vqacp_v{options.version}_{split}_{what}.json" for what in ("questions", "annotations")]
    questions, annotations = (find_vqa_file(options.source, name) for name in names)
    if questions is None or annotations is None:
        raise UserError(f"{options.source}: VQA-CP v{options.version} needs {' and '.join(names)}")
    examples = read_vqa(questions, annotations, dropped)
    print_line(f"read {questions} and {annotations.name}: {len(examples):,} questions")
    return examples


if __name__ == "__main__":
    sys.exit(main())

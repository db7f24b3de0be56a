"""Prepare VQA v2, or v1, from its official files: questions and annotations, and of test the questions alone."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlrnn.data.formats.base import SkipReport, Splits
from vlrnn.data.formats.vqa import LICENCE, read_vqa
from vlrnn.data.prepare.base import publish, script
from vlrnn.data.prepare.vqa import find_photographs, find_vqa_file, vqa_parser
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.terminal import print_line

TESTS = ("test2015", "test-dev2015")
PREFIXES = {1: "", 2: "v2_"}
SOURCES = {1: "Antol et al., ICCV 2015", 2: "Goyal et al., CVPR 2017"}


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    parser = vqa_parser(__doc__ or "")
    parser.add_argument("--test", choices=TESTS, help="which questions test has; by default the first that are there")
    return script(parser, prepare, argv)


def prepare(options: argparse.Namespace) -> None:
    """Read, clean, write, and tell."""
    image_root = find_photographs(options.source, options.images)
    parts = [("train", "train2014"), ("val", "val2014")]
    parts += [("test", part) for part in ([options.test] if options.test else TESTS)]
    dropped, splits = SkipReport(), Splits()
    for split, part in parts:
        path = find_vqa_file(options.source, f"{PREFIXES[options.version]}OpenEnded_mscoco_{part}_questions.json")
        if path and split not in splits:
            splits[split] = _read(options, path, part, dropped)
    if not splits:
        wanted = f"{PREFIXES[options.version]}OpenEnded_mscoco_train2014_questions.json"
        raise UserError(f"{options.source}: no questions of VQA v{options.version} ({wanted} and its like)")
    publish(
        options.out,
        splits,
        image_root,
        dropped,
        name=f"VQA v{options.version}",
        source=SOURCES[options.version],
        licence=LICENCE,
        check=not options.unchecked,
    )


def _read(options: argparse.Namespace, questions: Path, part: str, dropped: SkipReport) -> list[Example]:
    prefix = f"{PREFIXES[options.version]}mscoco_{part}"
    annotations = find_vqa_file(options.source, f"{prefix}_annotations.json")
    pairs = find_vqa_file(options.source, f"{prefix}_complementary_pairs.json")
    if annotations is None and not part.startswith("test"):
        raise UserError(f"{questions}: no {prefix}_annotations.json beside it")
    examples = read_vqa(questions, annotations, dropped, pairs)
    beside = [path.name for path in (annotations, pairs) if path]
    print_line(f"read {questions}: {len(examples):,} questions; " + (", ".join(beside) or "no annotations"))
    return examples


if __name__ == "__main__":
    sys.exit(main())

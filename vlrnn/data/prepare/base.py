"""What the scripts of `data_prep/` share: cleaning of examples, writing of a data set, messages, exit codes."""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from vlrnn.data.formats.base import ImageFolder, SkipReport, Splits
from vlrnn.data.images import check_image
from vlrnn.data.records import SPLITS, Example, describe_dataset, write_dataset
from vlrnn.errors import Parser, UserError, translating_file_errors
from vlrnn.progress import quiet_on_request, track
from vlrnn.terminal import escaping_streams, print_line
from vlrnn.text.text_checks import count_unspaced, is_canned, is_wordless, warn_of_unspaced


def script(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], None], argv: Sequence[str] | None
) -> int:
    """Run a script: parse `argv` (by default the command line), do the work; returns the exit code.

    0 worked, 2 a mistake of the user's, told in one line on stderr, 130 interrupted.
    """
    gc.disable()  # there are millions of records and no cycles: looking for some takes a third of the time
    try:
        with (
            escaping_streams(),
            quiet_on_request(sys.argv[1:] if argv is None else argv) as arguments,
            translating_file_errors(),
        ):
            work(parser.parse_args(arguments))
    except UserError as fault:
        print_line(f"{parser.prog}: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        gc.enable()
    return 0


def script_parser(description: str, source: str) -> argparse.ArgumentParser:
    """A parser of what every script for real data takes; `source` is the help for SOURCE."""
    parser = Parser(description=description)
    parser.add_argument("source", type=Path, metavar="SOURCE", help=source)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the prepared data set goes")
    parser.add_argument(
        "--unchecked", action="store_true", help="do not decode the images, only look whether they are there"
    )
    return parser


def publish(
    out: Path,
    splits: Mapping[str, Iterable[Example]],
    image_root: Path,
    dropped: SkipReport,
    *,
    name: str,
    source: str,
    licence: str,
    check: bool = True,
    **more: Any,
) -> None:
    """Clean a data set of captions or questions, write it, and print what was read and what was dropped and why.

    Images stay where they are: `dataset.json` says where, relative to `out` when within it.

    Args:
        out: the folder of the prepared data set.
        splits: split -> examples, whose `image` is relative to `image_root`.
        image_root: where the images are.
        dropped: what was left out in reading; what is left out here is added.
        name, source, licence: told in `dataset.json`.
        check: decode every image; else only look whether it is there.
        more: what else `write_dataset` takes.

    Raises:
        UserError: an image stands in two splits, nothing is left, or `out` cannot be written or has a
            `dataset.json` of another kind (Karpathy's split files come by that name).
    """
    if (out / "dataset.json").exists() and "counts" not in describe_dataset(out):
        raise UserError(f"{out}/dataset.json: of another kind, so it is not replaced; choose another --out")
    find = cache(ImageFolder(image_root).find)
    listed = {split: _clean([_located(each, find) for each in splits[split]], split, dropped) for split in splits}
    faulty = _faulty_images(listed, image_root, check)
    cleaned: Splits = {}
    for split, examples in listed.items():
        cleaned[split] = [example for example in examples if example.image not in faulty]
        for example in examples:
            if example.question is not None and example.image in faulty:
                dropped.add("question without its image", example.id)
    for image, (reason, detail) in faulty.items():
        dropped.add(reason, image + detail)
    if not any(cleaned.values()):
        raise UserError(f"{image_root}: no example is left; {'; '.join(dropped.lines()) or 'none was read'}")
    description = write_dataset(
        out,
        {split: cleaned[split] for split in SPLITS if cleaned.get(split)},
        name=name,
        source=source,
        licence=licence,
        image_root=_recorded(image_root, out),
        dropped=dropped.counts(),
        **more,
    )
    for split, examples in cleaned.items():
        if not examples:
            print_line(f"{split}: nothing is left, not written")
    for split, counts in description["counts"].items():
        print_line(
            f"{split}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items() if what != "examples")
        )
    for line in dropped.lines():
        print_line(line)
    texts = (
        text for examples in cleaned.values() for each in examples for text in (*each.captions, each.question or "")
    )
    if warning := warn_of_unspaced(
        *count_unspaced(filter(None, texts)), "texts", "train with data.tokenizer characters"
    ):
        print_line(f"warning: {warning}")
    print_line(f"written to {out}")


def _located(example: Example, find: Callable[[str], str]) -> Example:
    image = find(example.image)
    return example if image == example.image else replace(example, image=image)


def _clean(examples: Sequence[Example], split: str, dropped: SkipReport) -> list[Example]:
    """The examples of which something is left, without what is empty. Only a test split may be without answers, and
    then it has none at all."""
    answered = split != "test" or any(map(_is_answered, examples))
    cleaned = (
        _clean_captions(each, dropped) if each.question is None else _clean_question(each, answered, dropped)
        for each in examples
    )
    return [each for each in cleaned if each]


def _clean_captions(example: Example, dropped: SkipReport) -> Example | None:
    retained = []
    for caption in (" ".join(caption.split()) for caption in example.captions):
        reason = "caption of no word" if is_wordless(caption) else "canned caption" if is_canned(caption) else None
        if reason:
            dropped.add(reason, example.id)
        else:
            retained.append(caption)
    if not retained:
        dropped.add("image without a caption", example.image)
        return None
    return replace(example, captions=tuple(retained))


def _clean_question(example: Example, answered: bool, dropped: SkipReport) -> Example | None:
    # The answers stay as they are, an annotator's empty one too: scoring counts annotators, and normalises by itself.
    question = " ".join((example.question or "").split())
    if is_wordless(question):
        dropped.add("question of no word", example.id)
        return None
    if answered and not _is_answered(example):
        dropped.add("question without an answer", example.id)
        return None
    return replace(example, question=question)


def _is_answered(example: Example) -> bool:
    return any(map(str.strip, example.answers))


def _faulty_images(
    splits: Mapping[str, Sequence[Example]], image_root: Path, check: bool
) -> dict[str, tuple[str, str]]:
    """Image -> why it cannot be used, in general and in detail, of those that cannot."""
    images = sorted({example.image for examples in splits.values() for example in examples})

    def fault(image: str) -> tuple[str, str] | None:
        path = image_root / image
        if not path.is_file():
            return "missing image", ""
        if check:
            try:
                check_image(path)
            except UserError as refusal:
                return "unreadable image", str(refusal).removeprefix(str(path))
        return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # decoding leaves Python to other threads
        faults = list(track(pool.map(fault, images), "checking", total=len(images), unit="images"))
    return {image: reason for image, reason in zip(images, faults, strict=True) if reason}


def _recorded(image_root: Path, out: Path) -> str:
    root, folder = image_root.resolve(), out.resolve()
    return str(root.relative_to(folder)) if root.is_relative_to(folder) else str(root)


def find_first(places: Sequence[Path], what: str) -> Path:
    """The first of these files or folders that exists.

    Raises:
        UserError: none does; says what was looked for, and where.
    """
    for place in places:
        if place.exists():
            return place
    raise UserError(f"{places[0].parent}: no {what} (looked for {', '.join(map(str, places))})")

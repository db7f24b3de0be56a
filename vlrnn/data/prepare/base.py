"""What all preparations share: cleaning of examples, writing of a data set, messages."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from vlrnn.data.formats.base import ImageFolder, SkipReport, Splits
from vlrnn.data.images import check_image, find_images
from vlrnn.data.records import SPLITS, Example, describe_dataset, write_dataset
from vlrnn.errors import UserError
from vlrnn.progress import track
from vlrnn.terminal import print_line
from vlrnn.text.text_checks import count_unspaced, is_canned, is_wordless, warn_of_unspaced


def publish(
    out: Path,
    splits: Mapping[str, Iterable[Example]],
    image_root: Path,
    dropped: SkipReport,
    *,
    check: bool = True,
    **about: Any,
) -> None:
    """Clean a data set of captions or questions, write it, and print what was read and what was dropped and why.

    Images stay where they are: `dataset.json` says where, relative to `out` when within it.

    Args:
        out: the folder of the prepared data set.
        splits: split -> examples, whose `image` is relative to `image_root`.
        image_root: where the images are.
        dropped: what was left out in reading; what is left out here is added.
        check: decode every image; else only check that the file exists.
        about: `name`, `source` and `licence`, for `dataset.json`, and what else `write_dataset` takes.

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
        image_root=_recorded(image_root, out),
        dropped=dropped.counts(),
        **about,
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


def publish_table(
    out: Path,
    images: Path,
    table: Path,
    read: Callable[[Path, ImageFolder, Sequence[float], int], Splits],
    kind: str,
    *,
    shares: str,
    seed: int,
    check: bool,
    name: str | None,
    licence: str,
) -> None:
    """Publish a table about a folder of images.

    Args:
        out: the folder of the prepared data set.
        images: the folder of images.
        table: the file.
        read: reads it: a function of its path, the folder of images, the shares of the splits and the seed.
        kind: what it has for each image, in the singular.
        shares: of train, val and test, for images whose split is not in the table: three numbers between commas.
        seed: of the splits that are drawn.
        check: decode every image.
        name: of the data set; by default the folder's.
        licence: for `dataset.json`.

    Raises:
        UserError: as `publish`; there is no such folder, or the shares are no numbers.
    """
    try:
        parts = [float(share) for share in shares.split(",")]
    except ValueError:
        raise UserError(f"--shares {shares}: must be three numbers, of train, val and test: 0.8,0.1,0.1") from None
    if not images.is_dir():
        raise UserError(f"{images}: no such folder")
    splits = read(table, ImageFolder(images), parts, seed)
    listed = {example.image for examples in splits.values() for example in examples}
    dropped = SkipReport()
    for path in find_images(images):
        if (image := path.relative_to(images).as_posix()) not in listed:
            dropped.add(f"image without a {kind}", image)
    print_line(f"read {table}")
    about = {"name": name or images.resolve().name, "source": str(table), "licence": licence, "seed": seed}
    publish(out, splits, images, dropped, check=check, **about)


def find_first(places: Sequence[Path], what: str) -> Path:
    """The first of these files or folders that exists.

    Raises:
        UserError: none does; says what was looked for, and where.
    """
    for place in places:
        if place.exists():
            return place
    raise UserError(f"{places[0].parent}: no {what} (looked for {', '.join(map(str, places))})")

"""What all preparations share: cleaning of examples, writing of a data set, messages."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from vlrnn.data.formats.base import ImageFolder, SkipReport, Splits
from vlrnn.data.images import check_image, find_images
from vlrnn.data.records import SPLITS, Example, describe_dataset, write_dataset
from vlrnn.errors import UserError
from vlrnn.progress import track
from vlrnn.terminal import print_line
from vlrnn.text.tokenizers import count_unspaced, is_canned, is_wordless, warn_of_unspaced


@dataclass(frozen=True)
class Target:
    """The data set that is written.

    Args:
        out: the folder of the prepared data set.
        unchecked: do not decode the images, only check that the files exist.
    """

    out: Path
    unchecked: bool = False


@dataclass(frozen=True)
class TableOptions:
    """Settings of a data set from a table.

    Args:
        shares: of the images, for train, val and test.
        seed: of the splits.
        name: of the data set; by default the folder's.
        licence: written to dataset.json.
    """

    shares: str = "0.8,0.1,0.1"
    seed: int = 0
    name: str | None = None
    licence: str = "unknown"


def publish(
    target: Target, splits: Mapping[str, Iterable[Example]], image_root: Path, dropped: SkipReport, **about: Any
) -> None:
    """Clean a data set of captions or questions, write it, and print counts of examples, and of dropped ones by reason.

    Images stay where they are; `dataset.json` has the path of their folder, relative to `target.out` when within it.

    Args:
        target: of the prepared data set.
        splits: split -> examples, whose `image` is relative to `image_root`.
        image_root: where the images are.
        dropped: entries left out in reading; those left out here are added.
        about: `name`, `source` and `licence`, for `dataset.json`, and further arguments of `write_dataset`.

    Raises:
        UserError: an image is in two splits, nothing is left, or the folder cannot be written or has another kind of
            `dataset.json` (Karpathy's split files have that name).
    """
    out = target.out
    if (out / "dataset.json").exists() and "counts" not in describe_dataset(out):
        raise UserError(f"{out}/dataset.json: another kind of data set, which is not replaced; choose another --out")
    find = cache(ImageFolder(image_root).find)
    listed = {}
    for split, read in splits.items():
        found = [each if (name := find(each.image)) == each.image else replace(each, image=name) for each in read]
        listed[split] = _clean(found, split, dropped)
    faulty = _faulty_images(listed, image_root, check=not target.unchecked)
    cleaned: Splits = {}
    for split, examples in listed.items():
        cleaned[split] = [example for example in examples if example.image not in faulty]
        for example in examples:
            if example.question is not None and example.image in faulty:
                dropped.add("question without an image file", example.id)
    for image, (reason, detail) in faulty.items():
        dropped.add(reason, image + detail)
    if not any(cleaned.values()):
        raise UserError(f"{image_root}: no example is left; {'; '.join(dropped.lines()) or 'none was read'}")
    root, folder = image_root.resolve(), out.resolve()
    description = write_dataset(
        out,
        {split: cleaned[split] for split in SPLITS if cleaned.get(split)},
        image_root=str(root.relative_to(folder)) if root.is_relative_to(folder) else str(root),
        dropped=dropped.counts(),
        **about,
    )
    _print_counts(cleaned, description["counts"], dropped)
    print_line(f"written to {out}")


def _print_counts(splits: Splits, counts: Mapping[str, Mapping[str, int]], dropped: SkipReport) -> None:
    for split, examples in splits.items():
        if not examples:
            print_line(f"{split}: no examples, not written")
    for split, each in counts.items():
        print_line(f"{split}: " + ", ".join(f"{count:,} {what}" for what, count in each.items() if what != "examples"))
    for line in dropped.lines():
        print_line(line)
    texts = (text for examples in splits.values() for each in examples for text in (*each.captions, each.question))
    unspaced = count_unspaced(filter(None, texts))
    if warning := warn_of_unspaced(*unspaced, "texts", "train with data.tokenizer characters"):
        print_line(f"warning: {warning}")


def _clean(examples: Sequence[Example], split: str, dropped: SkipReport) -> list[Example]:
    """The examples without empty captions, and without those that have no caption or question left. A question needs an
    answer, but in a test split without any."""
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
    """Unusable image -> the reason and its detail."""
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


def publish_table(
    target: Target,
    images: Path,
    table: Path,
    read: Callable[[Path, ImageFolder, Sequence[float], int], Splits],
    kind: str,
    options: TableOptions,
) -> None:
    """Publish a table about a folder of images.

    Args:
        target: of the prepared data set.
        images: the folder of images.
        table: the file.
        read: a function of its path, the folder of images, the shares of the splits and the seed.
        kind: of its texts, in the singular: caption or question.
        options: the shares are three numbers, separated by commas, for images whose split is not in the table.

    Raises:
        UserError: as `publish`; there is no such folder, or the shares are no numbers.
    """
    try:
        parts = [float(share) for share in options.shares.split(",")]
    except ValueError:
        raise UserError(
            f"--shares {options.shares}: must be three numbers, of train, val and test: 0.8,0.1,0.1"
        ) from None
    if not images.is_dir():
        raise UserError(f"{images}: no such folder")
    splits = read(table, ImageFolder(images), parts, options.seed)
    listed = {example.image for examples in splits.values() for example in examples}
    dropped = SkipReport()
    for path in find_images(images):
        if (image := path.relative_to(images).as_posix()) not in listed:
            dropped.add(f"image without a {kind}", image)
    print_line(f"read {table}")
    about = {"name": options.name or images.resolve().name, "source": str(table), "licence": options.licence}
    publish(target, splits, images, dropped, **about, seed=options.seed)


def find_first(places: Sequence[Path], what: str) -> Path:
    """The first of these files or folders that exists.

    Raises:
        UserError: none does; lists the paths.
    """
    for place in places:
        if place.exists():
            return place
    raise UserError(f"{places[0].parent}: no {what} (looked for {', '.join(map(str, places))})")

"""Captions of a folder of images, as people have them: a CSV with a line for each caption, or a JSON."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any

from vlrnn.data.prepare import SPLIT_NAMES, Splits
from vlrnn.errors import UserError
from vlrnn.files import read_json, read_text
from vlrnn.records import SPLITS, Example


@dataclass(frozen=True)
class Row:
    """An image's name, captions of it, and the split that the file puts it into, if it does."""

    image: str
    captions: tuple[str, ...]
    split: str | None = None


def read_table(path: Path) -> list[Row]:
    """Read a file of captions: `.json`, or else a CSV (`.tsv`: with tabs) whose first line names the columns.

    CSV columns: `image`, `caption`, and, if wanted, `split`. JSON: `{"a.jpg": ["caption", ...]}`, or a list
    of `{"image": ..., "caption": ... or "captions": [...], "split": ...}`.

    Raises:
        UserError: the file is neither; names the line or the entry.
    """
    return list(_json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path))


def _csv_rows(path: Path) -> Iterator[Row]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [column.strip().lower() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        for column in ("image", "caption"):
            if column not in columns:
                raise UserError(f"{path}:1: no column {column!r}; the first line must name the columns")
        for line in reader:
            place = f"{path}:{reader.line_num}"
            if None in line or None in line.values():
                raise UserError(f"{place}: not {len(columns)} columns; put a caption with {delimiter!r} into quotes")
            yield Row(_image(line["image"], place), (line["caption"],), _split(line.get("split"), place))
    except csv.Error as fault:
        raise UserError(f"{path}:{reader.line_num}: not CSV: {fault}") from None


def _json_rows(path: Path) -> Iterator[Row]:
    value = read_json(path)
    if isinstance(value, Mapping):
        value = [{"image": image, "captions": captions} for image, captions in value.items()]
    if not isinstance(value, list):
        raise UserError(f"{path}: expected an object or a list, found {type(value).__name__}")
    for number, entry in enumerate(value):
        place = f"{path}: entry {number}"
        captions = _captions(entry)
        if captions is None or not isinstance(entry.get("image"), str):
            raise UserError(f"{place}: needs an 'image' and a 'caption' or 'captions', all texts")
        yield Row(_image(entry["image"], place), captions, _split(entry.get("split"), place))


def _image(name: str, place: str) -> str:
    """The name in one spelling, so that `./a.jpg` and `a.jpg` are never two images in two splits."""
    path = PurePosixPath(name.strip())
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise UserError(f"{place}: the image {name!r} is no file within the folder of images")
    return str(path)


def _captions(entry: Any) -> tuple[str, ...] | None:
    if not isinstance(entry, Mapping):
        return None
    captions = entry.get("captions", entry.get("caption"))
    captions = [captions] if isinstance(captions, str) else captions
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        return None
    return tuple(captions)


def _split(name: Any, place: str) -> str | None:
    if name is None or name == "":
        return None
    if not isinstance(name, str) or name.strip().lower() not in SPLIT_NAMES:
        raise UserError(f"{place}: the split {name!r} is none of {', '.join(SPLIT_NAMES)}")
    return SPLIT_NAMES[name.strip().lower()]


def split_rows(rows: Sequence[Row], shares: Sequence[float], seed: int) -> Splits:
    """Make examples, one for each image, in the splits that the rows say, or else in splits drawn by chance.

    Args:
        rows: of a table; either all say their split or none does.
        shares: of the images that go to train, val and test, when the rows do not say.
        seed: another seed, other splits.

    Raises:
        UserError: only some rows say their split, or shares that do not make a whole.
    """
    captions: dict[tuple[str | None, str], list[str]] = {}
    for row in rows:
        captions.setdefault((row.split, row.image), []).extend(row.captions)
    unsplit = sorted(image for split, image in captions if split is None)
    if unsplit and len(unsplit) < len(captions):
        raise UserError(f"some captions name their split and some do not: {unsplit[0]} has none")
    homes = dict(zip(unsplit, _draw(len(unsplit), shares, seed), strict=True))
    splits: Splits = {split: [] for split in SPLITS}
    for (split, image), told in captions.items():
        splits[split or homes[image]].append(Example(id=image, image_id=image, image=image, captions=tuple(told)))
    return splits


def _draw(count: int, shares: Sequence[float], seed: int) -> list[str]:
    """A split for each of `count` images; their sizes are as near to the shares as whole images can be."""
    if len(shares) != len(SPLITS) or not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise UserError(f"the shares {', '.join(map(str, shares))} must be three that sum to 1")
    ends = [round(count * sum(shares[: place + 1])) for place in range(len(SPLITS))]
    starts = [0, *ends[:-1]]
    drawn = [split for split, start, end in zip(SPLITS, starts, ends, strict=True) for _ in range(end - start)]
    Random(seed).shuffle(drawn)
    return drawn

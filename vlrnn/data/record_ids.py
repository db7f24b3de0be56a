"""Checks of ids: unique in a split, one file for each image id, no image in two splits. `1` and `"1"` are the same id,
since result files contain either."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from vlrnn.errors import UserError

Id = int | str
"""Ids are numbers where the source has numbers (COCO), otherwise text (file names of Flickr)."""


def as_id(text: str) -> Id:
    """An id that was read as text (a line, or a key of a JSON object): a number where possible."""
    text = text.strip()
    return int(text) if text.isdecimal() and text.isascii() else text


class Place(NamedTuple):
    """Id, file and split of an image."""

    id: Id
    file: str
    split: str


def check_each_once(ids: Iterable[Id], at: Callable[[int], Id], where: str) -> None:
    """Check that ids are unique, with 8 bytes of memory for each.

    Args:
        ids: of the examples of a split.
        at: index -> the id there, for the error.
        where: name of the split, for the error.

    Raises:
        UserError: an id occurs twice, or once as a number and once as text.
    """
    hashes = np.fromiter((hash(str(id)) for id in ids), np.int64)
    order = hashes.argsort(kind="stable")
    (twice,) = np.nonzero(hashes[order[1:]] == hashes[order[:-1]])
    for place in twice.tolist():
        first, second = at(int(order[place])), at(int(order[place + 1]))
        if str(first) == str(second):
            fault = "occurs twice" if first == second else f"stands beside {first!r}, which is the same id,"
            raise UserError(f"id {second!r} {fault} in {where}; give every example its own id")


def check_images(splits: Mapping[str, Sequence[tuple[Id, str]]], test_apart: bool) -> set[str]:
    """Check that every image id has one file, and that no image, by id or file, is in two splits.

    Args:
        splits: split -> image id and file of each of its examples.
        test_apart: test may share images with the other splits.

    Returns:
        the image ids, as text, that test shares with the others.

    Raises:
        UserError: an image is in two splits, or an id has two files.
    """
    places: dict[str, Place] = {}
    homes: dict[tuple[bool, str], str] = {}
    ids: dict[bool, set[str]] = {False: set(), True: set()}
    for split, images in splits.items():
        apart = test_apart and split == "test"
        for id, file in images:
            place = places.setdefault(str(id), Place(id, file, split))
            if place.file != file or type(place.id) is not type(id):
                raise UserError(_two_files(place, Place(id, file, split)))
            if (other := homes.setdefault((apart, file), split)) != split:
                name = file if place.split == split else id
                raise UserError(f"image {name!r} is in two splits, {other} and {split}; correct the split lists")
            ids[apart].add(str(id))
    return ids[True] & ids[False]


def _two_files(first: Place, second: Place) -> str:
    if first.split != second.split:
        return (
            f"image id {second.id!r} is in two splits, for {first.file} in {first.split} and {second.file} in "
            f"{second.split}; if ids start again in each split, give every image its own id"
        )
    if first.file == second.file:
        return f"image ids {first.id!r} and {second.id!r}, a number and a text, are both of {first.file}; keep one"
    return f"image id {second.id!r} is used for two files, {first.file} and {second.file}; give each its own id"

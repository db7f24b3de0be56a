"""The official files of Flickr8k and Flickr30k: a token file of captions, and a list for each split. Karpathy's split
files of these and of COCO, such as `dataset_coco.json`: captions and splits in one file.

A line of the token file is `NAME.jpg#NUMBER`, a tab or spaces, and the caption; a line of a split list is a
file name, with its suffix or without.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from vlrnn.data.formats.base import SPLIT_NAMES, SkipReport, Splits, id_of, list_in, object_of, text_of
from vlrnn.data.records import Example, Id
from vlrnn.errors import UserError
from vlrnn.files import read_json, read_text

STRAY_KEY = "2258277193_586949ec62.jpg.1"
"""The image name of captions in Flickr8k's token file whose image is not in the data set."""

_TOKEN_LINE = re.compile(r"(\S.*?)#\d+(?:\s+(.*))?")


def read_tokens(path: Path) -> dict[str, list[str]]:
    """Image name -> its captions, in the order of the file.

    Raises:
        UserError: the file cannot be read, or a line is not of the format; names file and line.
    """
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        match = _TOKEN_LINE.fullmatch(line)
        if match is None:
            raise UserError(f"{path}:{number}: not of the form NAME.jpg#NUMBER<tab>CAPTION: {line[:60]!r}")
        captions.setdefault(match[1], []).append(match[2] or "")
    return captions


def read_split_list(path: Path) -> list[str]:
    """The file names of a split, with `.jpg` added if missing.

    Raises:
        UserError: the file cannot be read, or names an image twice.
    """
    names: dict[str, int] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not (name := line.strip()):
            continue
        name = name if name.lower().endswith(".jpg") else f"{name}.jpg"
        if name in names:
            raise UserError(f"{path}:{number}: {name} is already in line {names[name]}")
        names[name] = number
    return list(names)


def read_flickr(tokens: Path, split_lists: Mapping[str, Path], dropped: SkipReport) -> Splits:
    """The examples of each split; images are not checked.

    Args:
        tokens: the token file.
        split_lists: split -> its list.
        dropped: gets captions whose image is in no list, and listed images without captions.

    Raises:
        UserError: a file cannot be read or is not of its format, or an image is in two lists.
    """
    captions = read_tokens(tokens)
    home: dict[str, str] = {}
    splits: Splits = {}
    for split, path in split_lists.items():
        splits[split] = []
        for name in read_split_list(path):
            if name in home:
                raise UserError(f"{path}: {name} is in two splits, {home[name]} and {split}; correct the split lists")
            home[name] = split
            splits[split].append(Example(id=name, image_id=name, image=name, captions=tuple(captions.get(name, ()))))
    for name in captions:
        if name == STRAY_KEY:
            dropped.add("known stray key of Flickr8k, an image that does not exist", name)
        elif name not in home:
            dropped.add("image in no split list", name)
    return splits


def read_karpathy(path: Path, image_root: Path) -> tuple[str, Splits]:
    """The name of the data set (such as `coco`) and the examples of each split (`restval` is train).

    Ids are those of COCO if the file has them, otherwise file names.

    Args:
        path: the split file.
        image_root: folder of the images, with the subfolders of the file (`val2014/...`) or without.

    Raises:
        UserError: the file is not of this format; names the image.
    """
    value = read_json(path)
    splits: Splits = {}
    for number, entry in enumerate(list_in(value, "images", f"{path}: not a Karpathy split file")):
        place = f"{path}: images[{number}]"
        split = text_of(object_of(entry, place), "split", place)
        if split not in SPLIT_NAMES:
            raise UserError(f"{place}: the split {split!r} is none of {', '.join(SPLIT_NAMES)}")
        id, captions, image = karpathy_image(entry, place)
        name = text_of(entry, "filename", place)
        image = name if (image_root / name).is_file() else image
        splits.setdefault(SPLIT_NAMES[split], []).append(Example(id, id, image, captions))
    return str(value.get("dataset", path.stem)), splits


class KarpathyImage(NamedTuple):
    """An image of a split file: its id, its captions, and its path, empty if it has none."""

    id: Id
    captions: tuple[str, ...]
    path: str


def karpathy_image(entry: Mapping[str, Any], place: str) -> KarpathyImage:
    """Convert an entry of a split file.

    Raises:
        UserError: it has neither `cocoid` nor `filename`, or no `sentences` with texts `raw`.
    """
    id = id_of(entry, ("cocoid", "filename"), place)
    captions = (text_of(object_of(each, place), "raw", place) for each in list_in(entry, "sentences", place))
    parts = [text_of(entry, name, place) for name in ("filepath", "filename") if entry.get(name) is not None]
    return KarpathyImage(id, tuple(captions), str(PurePosixPath(*parts)) if entry.get("filename") else "")

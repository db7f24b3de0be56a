"""Karpathy's split files, such as `dataset_coco.json`: captions and splits in one file."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from vlrnn.data.formats.base import SPLIT_NAMES, Splits
from vlrnn.data.records import Example, Id
from vlrnn.errors import UserError
from vlrnn.files import read_json


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
    if not isinstance(value, dict) or not isinstance(value.get("images"), list):
        raise UserError(f"{path}: not a Karpathy split file: it has no list of images")
    splits: Splits = {}
    for place, image in enumerate(value["images"]):
        where = f"{path}: images[{place}]"
        if not isinstance(image, Mapping):
            raise UserError(f"{where} is no object")
        split = SPLIT_NAMES.get(_text(image, "split", where))
        if split is None:
            raise UserError(f"{where}: the split {image['split']!r} is none of {', '.join(SPLIT_NAMES)}")
        splits.setdefault(split, []).append(_example(image, image_root, where))
    return str(value.get("dataset", path.stem)), splits


def _example(image: Mapping[str, Any], image_root: Path, where: str) -> Example:
    name = _text(image, "filename", where)
    in_folder = str(PurePosixPath(_text(image, "filepath", where)) / name) if "filepath" in image else name
    id: Id = image.get("cocoid", name)
    if not isinstance(id, (int, str)) or isinstance(id, bool):
        raise UserError(f"{where} ({name}) has no proper 'cocoid': {id!r}; give it a number, or leave all of them out")
    sentences = image.get("sentences")
    if not isinstance(sentences, list) or not all(isinstance(each, Mapping) for each in sentences):
        raise UserError(f"{where} ({name}) has no list of 'sentences'")
    return Example(
        id=id,
        image_id=id,
        image=name if (image_root / name).is_file() else in_folder,
        captions=tuple(_text(sentence, "raw", where) for sentence in sentences),
    )


def _text(entry: Mapping[str, Any], name: str, where: str) -> str:
    if not isinstance(value := entry.get(name), str):
        raise UserError(f"{where}: needs {name!r}, a text")
    return value

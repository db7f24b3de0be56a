"""Karpathy's split files, `dataset_coco.json` and its like: captions and splits in one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlrnn.data.prepare import SPLIT_NAMES, Splits
from vlrnn.errors import UserError
from vlrnn.files import read_json
from vlrnn.records import Example, Id


def read_karpathy(path: Path, image_root: Path) -> tuple[str, Splits]:
    """The name of the data set (`coco`, say) and the examples of each split (`restval` is train).

    Ids are COCO's if the file has them, else file names.

    Args:
        path: the split file.
        image_root: where the images are, in folders as the file names them (`val2014/...`) or in one.

    Raises:
        UserError: the file is not of this format; names the image that is not.
    """
    value = read_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("images"), list):
        raise UserError(f"{path}: not a Karpathy split file: it has no list of images")
    splits: Splits = {}
    for place, image in enumerate(value["images"]):
        try:
            split, example = SPLIT_NAMES[image["split"]], _example(image, image_root)
        except (KeyError, TypeError) as fault:
            raise UserError(f"{path}: image {place}: wrong or missing {fault}") from None
        splits.setdefault(split, []).append(example)
    return str(value.get("dataset", path.stem)), splits


def _example(image: Mapping[str, Any], image_root: Path) -> Example:
    name = image["filename"]
    in_folder = f"{image['filepath']}/{name}" if image.get("filepath") else name
    id: Id = image.get("cocoid", name)
    return Example(
        id=id,
        image_id=id,
        image=name if (image_root / name).is_file() else in_folder,
        captions=tuple(_text(sentence["raw"]) for sentence in image["sentences"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"caption {value!r}")
    return value

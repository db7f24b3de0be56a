"""COCO's official annotation files: `captions_*.json`, and `instances_*.json` for what is in the picture."""

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO

from vlrnn.data.prepare import Dropped
from vlrnn.errors import UserError
from vlrnn.files import read_json
from vlrnn.records import Example

_NEEDED = {
    "captions": {"images": ("id", "file_name"), "annotations": ("image_id", "caption", "id")},
    "instances": {
        "images": ("id",),
        "annotations": ("image_id", "category_id", "id"),
        "categories": ("id", "name"),
    },
}


def open_coco(path: Path, kind: str) -> COCO:
    """Open an annotation file with pycocotools.

    Args:
        path: the file.
        kind: `captions` or `instances`.

    Raises:
        UserError: the file cannot be read, or is not of this kind; names the line, or the entry.
    """
    value = read_json(path)
    for section, keys in _NEEDED[kind].items():
        entries = value.get(section) if isinstance(value, Mapping) else None
        if not isinstance(entries, list):
            raise UserError(f"{path}: not COCO {kind}: it has no list of {section}")
        for place, entry in enumerate(entries):
            for key in keys:
                kinds = (int, str) if key.endswith("id") else str  # the others are texts
                if not isinstance(entry, Mapping) or not isinstance(entry.get(key), kinds):
                    raise UserError(f"{path}: {section}[{place}] has no proper {key!r}")
    coco = COCO()
    coco.dataset = value
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        coco.createIndex()
    return coco


def read_coco(captions: Path, instances: Path | None, image_folder: str, dropped: Dropped) -> list[Example]:
    """The examples of one captions file.

    Args:
        captions: a `captions_*.json`.
        instances: the `instances_*.json` of the same images; with it, examples have `objects`, the names of
            the categories in the picture, sorted, each once.
        image_folder: what to put before the file names, to make paths relative to the image root.
        dropped: captions of images that the file does not have are added.

    Raises:
        UserError: a file is not of its kind.
    """
    told = open_coco(captions, "captions")
    seen = open_coco(instances, "instances") if instances else None
    for annotation in seen.anns.values() if seen else ():
        if seen and annotation["category_id"] not in seen.cats:
            raise UserError(f"{instances}: no category {annotation['category_id']}, of object {annotation['id']}")
    for annotation in told.anns.values():
        if annotation["image_id"] not in told.imgs:
            dropped.add("caption of an image that the file does not have", annotation["id"])
    return [_example(told, seen, image, image_folder) for image in told.imgs.values()]


def _example(told: COCO, seen: COCO | None, image: Mapping[str, Any], image_folder: str) -> Example:
    id = image["id"]
    objects = None
    if seen and id in seen.imgs:
        categories = {annotation["category_id"] for annotation in seen.imgToAnns.get(id, ())}
        objects = tuple(sorted({seen.cats[category]["name"] for category in categories}))
    return Example(
        id=id,
        image_id=id,
        image=f"{image_folder}/{image['file_name']}" if image_folder else image["file_name"],
        captions=tuple(annotation["caption"] for annotation in told.imgToAnns.get(id, ())),
        objects=objects,
    )

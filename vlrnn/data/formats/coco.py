"""COCO's annotation files: `captions_*.json`, and `instances_*.json` for the objects in images; and other data sets in
this format, as VizWiz-Captions."""

import contextlib
import filecmp
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pycocotools.coco import COCO

from vlrnn.data.formats.base import SkipReport, Splits, id_of, list_in, object_of, text_of
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.files import read_json
from vlrnn.terminal import print_line

_NEEDED = {
    "captions": {"images": ("id", "file_name"), "annotations": ("image_id", "caption", "id")},
    "instances": {
        "images": ("id",),
        "annotations": ("image_id", "category_id", "id"),
        "categories": ("id", "name"),
    },
}
_LEFT_OUT = {"is_rejected": "caption rejected by its authors", "is_precanned": "canned caption"}
"""Flags of VizWiz-Captions (Gurari et al., ECCV 2020) -> reason to leave a caption out."""


def open_coco(path: Path, kind: str) -> COCO:
    """Open an annotation file with pycocotools, after checking the entries of this kind.

    Args:
        path: the file.
        kind: `captions` or `instances`.

    Raises:
        UserError: the file cannot be read, is not of this kind, or has one id for two images or two categories; names
            the line, or the entries.
    """
    value = read_json(path)
    sections: dict[str, list[Any]] = {}
    for section, keys in _NEEDED[kind].items():
        sections[section] = list_in(value, section, f"{path}: not COCO {kind}")
        for number, entry in enumerate(sections[section]):
            place = f"{path}: {section}[{number}]"
            for key in keys:
                if key.endswith("id"):
                    id_of(object_of(entry, place), (key,), place)
                else:
                    text_of(object_of(entry, place), key, place)
    _check_once(path, "images", sections["images"], "file_name")
    _check_once(path, "categories", sections.get("categories", ()), "name")
    _check_one_type(path, sections)
    coco = COCO()
    coco.dataset = sections
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        coco.createIndex()
    return coco


def _check_once(path: Path, section: str, entries: Sequence[Mapping[str, Any]], key: str) -> None:
    """Raise a UserError for an id of two different entries; repeated equal entries are allowed."""
    first: dict[str, int] = {}
    for place, entry in enumerate(entries):
        other = first.setdefault(str(entry["id"]), place)
        one, two = entries[other].get(key), entry.get(key)
        if one != two:
            raise UserError(
                f"{path}: {section}[{other}] and {section}[{place}] have one id, {entry['id']!r}, for {one} and {two}; "
                "give each its own id"
            )


def _check_one_type(path: Path, sections: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Raise a UserError if image ids of annotations are of another type, number or text, than those of images."""
    ids = {entry["id"] for entry in sections["images"]}
    as_text = set(map(str, ids))
    for place, annotation in enumerate(sections["annotations"]):
        id = annotation["image_id"]
        if id not in ids and str(id) in as_text:
            kind = "a text" if isinstance(id, str) else "a number"
            raise UserError(
                f"{path}: annotations[{place}] has the image_id {id!r}, which is {kind} here and not in images; write "
                "both in the same form"
            )


def read_coco(captions: Path, instances: Path | None, image_folder: str, dropped: SkipReport) -> list[Example]:
    """The examples of one captions file.

    Args:
        captions: a `captions_*.json`.
        instances: the `instances_*.json` of the same images; with it, examples have `objects`, the sorted names of the
            categories in the image.
        image_folder: prefix of file names that makes them relative to the image root.
        dropped: gets captions of images that are not in the file, and rejected or canned captions of VizWiz.

    Raises:
        UserError: a file is not of its kind, or an id has two entries.
    """
    caption_file = open_coco(captions, "captions")
    instance_file = open_coco(instances, "instances") if instances else None
    for annotation in instance_file.anns.values() if instance_file else ():
        if instance_file and annotation["category_id"] not in instance_file.cats:
            raise UserError(f"{instances}: no category {annotation['category_id']}, of object {annotation['id']}")
    for annotation in caption_file.dataset["annotations"]:
        if annotation["image_id"] not in caption_file.imgs:
            dropped.add("caption of an image that the file does not have", annotation["id"])
    examples = []
    for id, image in caption_file.imgs.items():
        objects = None
        if instance_file and id in instance_file.imgs:
            categories = {annotation["category_id"] for annotation in instance_file.imgToAnns.get(id, ())}
            objects = tuple(sorted({instance_file.cats[category]["name"] for category in categories}))
        texts = []
        for annotation in caption_file.imgToAnns.get(id, ()):
            if reason := next((reason for mark, reason in _LEFT_OUT.items() if annotation.get(mark)), None):
                dropped.add(reason, annotation["id"])
            else:
                texts.append(annotation["caption"])
        path = image["file_name"]
        if not path.startswith(f"{image_folder}/"):  # file names may include the folder, or be absolute
            path = str(PurePosixPath(image_folder) / path)
        examples.append(Example(id, id, path, tuple(texts), objects=objects))
    return examples


def name_by_files(splits: Splits, image_root: Path) -> Splits:
    """If image ids start again in each split, so that one id has a different photograph in each, use the file names as
    ids; otherwise return the splits unchanged.

    Args:
        splits: with `image` relative to `image_root`.
        image_root: of the images, whose contents are compared: one photograph in two splits remains an error.
    """
    first: dict[str, tuple[str, Example]] = {}
    again = None
    for split, examples in splits.items():
        for example in examples:
            other, earlier = first.setdefault(str(example.image_id), (split, example))
            if other == split:
                continue
            one, two = image_root / earlier.image, image_root / example.image
            both = one.is_file() and two.is_file()
            if filecmp.cmp(one, two, shallow=False) if both else one.name == two.name:
                return splits
            again = again or f"{example.image_id} is {earlier.image} in {other} and {example.image} in {split}"
    if again is None:
        return splits
    print_line(f"image ids start again in each split ({again}): images are named by their files instead")
    return {
        split: [replace(each, id=each.image, image_id=each.image) for each in examples]
        for split, examples in splits.items()
    }

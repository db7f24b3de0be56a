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

from vlrnn.data.formats.base import SkipReport, Splits
from vlrnn.data.records import Example, Id
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
        entries = value.get(section) if isinstance(value, Mapping) else None
        if not isinstance(entries, list):
            raise UserError(f"{path}: not COCO {kind}: it has no list of {section}")
        for place, entry in enumerate(entries):
            for key in keys:
                kinds = (int, str) if key.endswith("id") else str
                found = entry.get(key) if isinstance(entry, Mapping) else None
                if not isinstance(found, kinds) or isinstance(found, bool):
                    raise UserError(f"{path}: {section}[{place}] has no proper {key!r}")
        sections[section] = entries
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
            raise UserError(
                f"{path}: annotations[{place}] has the image_id {id!r}, which is {_kind(id)} here and not in images; "
                "write both in the same form"
            )


def _kind(id: Id) -> str:
    return "a text" if isinstance(id, str) else "a number"


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
    return [_example(caption_file, instance_file, image, image_folder, dropped) for image in caption_file.imgs.values()]


def _example(
    caption_file: COCO, instance_file: COCO | None, image: Mapping[str, Any], image_folder: str, dropped: SkipReport
) -> Example:
    id = image["id"]
    objects = None
    if instance_file and id in instance_file.imgs:
        categories = {annotation["category_id"] for annotation in instance_file.imgToAnns.get(id, ())}
        objects = tuple(sorted({instance_file.cats[category]["name"] for category in categories}))
    captions = []
    for annotation in caption_file.imgToAnns.get(id, ()):
        reason = next((reason for mark, reason in _LEFT_OUT.items() if annotation.get(mark)), None)
        if reason:
            dropped.add(reason, annotation["id"])
        else:
            captions.append(annotation["caption"])
    return Example(
        id=id,
        image_id=id,
        image=_path(image_folder, image["file_name"]),
        captions=tuple(captions),
        objects=objects,
    )


def _path(folder: str, file_name: str) -> str:
    """The path of an image relative to the image root; file names may include the folder, or be absolute."""
    return file_name if file_name.startswith(f"{folder}/") else str(PurePosixPath(folder) / file_name)


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
            if _one_photograph(image_root / earlier.image, image_root / example.image):
                return splits
            again = again or f"{example.image_id} is {earlier.image} in {other} and {example.image} in {split}"
    if again is None:
        return splits
    print_line(f"image ids start again in each split ({again}): images are named by their files instead")
    return {
        split: [replace(each, id=each.image, image_id=each.image) for each in examples]
        for split, examples in splits.items()
    }


def _one_photograph(first: Path, second: Path) -> bool:
    if first.is_file() and second.is_file():
        return filecmp.cmp(first, second, shallow=False)
    return first.name == second.name

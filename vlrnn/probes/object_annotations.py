"""Annotated objects of images, from files of several formats."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vlrnn.data.matching import name_some
from vlrnn.data.record_ids import Id, as_id
from vlrnn.data.records import RecordFile, ScoredExample
from vlrnn.errors import UserError
from vlrnn.files import read_json


class ObjectSets(NamedTuple):
    """Image id -> names of its objects, and -> its file, if available. Of COCO's instances also all annotated
    `categories`; images may have further objects, which are not annotated."""

    of: dict[Id, frozenset[str]]
    files: dict[Id, str]
    categories: frozenset[str] = frozenset()

    @property
    def names(self) -> list[str]:
        """The names of all objects and categories."""
        return sorted(self.categories.union(*self.of.values()))


def read_object_sets(path: str | Path) -> ObjectSets:
    """The objects of images.

    Args:
        path: `{image id: [names]}` as JSON; a prepared `.jsonl`, without its examples that have no `objects`, where
            several may be of one image; or COCO's `instances_*.json`.

    Raises:
        UserError: the file is none of these, or has no image; names the place.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        of: dict[Id, frozenset[str]] = {}
        files: dict[Id, str] = {}
        for each in RecordFile(path, ScoredExample):
            if each.objects is not None:
                id = as_id(str(each.image_id))
                of[id] = of.get(id, frozenset()).union(each.objects)
                files[id] = each.image
        if not any(of.values()):
            raise UserError(f"{path}: no example has annotated objects ('objects')")
        return ObjectSets(of, files)
    value = read_json(path)
    if not isinstance(value, dict) or not value:
        raise UserError(f'{path}: no objects: expected {{"image id": ["name", ...], ...}}, a prepared .jsonl, or COCO')
    if "annotations" in value:
        return _of_instances(value, path)
    listed = {as_id(id): frozenset(_names(value, id, path)) for id in value}
    if doubled := [id for id, count in Counter(map(as_id, value)).items() if count > 1]:
        raise UserError(f"{path}: {len(doubled)} images occur twice, in two spellings: {name_some(doubled)}; keep one")
    return ObjectSets(listed, {})


def _names(value: Mapping[str, Any], id: str, path: Path) -> list[str]:
    names = value[id]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: image {id!r}: expected a list of names")
    return names


def _of_instances(value: Mapping[str, Any], path: Path) -> ObjectSets:
    names = {each["id"]: str(each["name"]) for each in _entries(value, "categories", ("id", "name"), path)}
    images = {as_id(str(each["id"])): each for each in _entries(value, "images", ("id",), path)}
    found: dict[Id, set[str]] = {id: set() for id in images}
    files = {id: str(each["file_name"]) for id, each in images.items() if "file_name" in each}
    for each in _entries(value, "annotations", ("image_id", "category_id"), path):
        if each["category_id"] not in names:
            raise UserError(f"{path}: an annotation is of the category {each['category_id']!r}, which has no name")
        found.setdefault(as_id(str(each["image_id"])), set()).add(names[each["category_id"]])
    of = {id: frozenset(objects) for id, objects in found.items()}
    return ObjectSets(of, files, frozenset(names.values()))


def _entries(value: Mapping[str, Any], section: str, fields: tuple[str, ...], path: Path) -> Iterator[dict[str, Any]]:
    entries = value.get(section)
    if not isinstance(entries, list):
        raise UserError(f"{path}: not COCO instances: it has no list of {section}")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(name), (int, str)) for name in fields):
            raise UserError(f"{path}: {section}[{number}] lacks {' or '.join(map(repr, fields))}")
        yield entry

"""Annotated objects of images, from files of several formats; and polls, yes/no questions about objects in images, from
the published files or from any annotations.

Source of polls: Li et al., Evaluating object hallucination in large vision-language models (POPE), EMNLP 2023, section
4.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from vlrnn.data.matching import name_some
from vlrnn.data.record_ids import Id, as_id
from vlrnn.data.records import RecordFile, ScoredExample
from vlrnn.errors import UserError
from vlrnn.files import parse_json, read_json, read_text, replacing


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
    for id, names in value.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{path}: image {id!r}: expected a list of names")
    listed = {as_id(id): frozenset(names) for id, names in value.items()}
    if doubled := [id for id, count in Counter(map(as_id, value)).items() if count > 1]:
        raise UserError(f"{path}: {len(doubled)} images occur twice, in two spellings: {name_some(doubled)}; keep one")
    return ObjectSets(listed, {})


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


KINDS = ("random", "popular", "adversarial")
"""Selection of absent objects: at random; the most frequent; those that co-occur most often with the present ones."""

# The published polls have a misspelling, "imange", in some questions.
_QUESTION = re.compile(r"is there an? (?P<object>.+?) in the (image|imange|picture|photo)\?", re.IGNORECASE)
_COCO = re.compile(r"(\d{12})$")


@dataclass(frozen=True)
class PollQuestion:
    """A question of a poll: is the `object` in the image? `label` is the answer, `image` the file."""

    id: Id
    image_id: Id
    image: str
    text: str
    object: str
    label: bool


def read_poll(path: str | Path) -> list[PollQuestion]:
    """The questions of a published file: a JSON object on each line, with `question_id`, `image`, `text`, `label`.

    The image id is `image_id` if present; otherwise the number at the end of the file name if that has twelve digits,
    as in COCO; otherwise the file name.

    Raises:
        UserError: a line has another format, a question occurs twice, or there is none; names file and line.
    """
    questions: dict[Id, PollQuestion] = {}
    for place, entry in read_lines(path):
        for name in ("question_id", "image", "text", "label"):
            if name not in entry:
                raise UserError(f"{place}: the field {name!r} is missing")
        parsed = _QUESTION.fullmatch(str(entry["text"]).strip())
        if not parsed or entry["label"] not in ("yes", "no"):
            raise UserError(f"{place}: expected 'Is there a ... in the image?' with the label yes or no")
        image, id = str(entry["image"]), as_id(str(entry["question_id"]))
        if id in questions:
            raise UserError(f"{place}: question {id!r} occurs twice")
        stem = Path(image).stem
        number = _COCO.search(stem)
        image_id = as_id(str(entry.get("image_id", int(number[1]) if number else stem)))
        questions[id] = PollQuestion(id, image_id, image, entry["text"], parsed["object"], entry["label"] == "yes")
    if not questions:
        raise UserError(f"{path}: holds no questions")
    return list(questions.values())


def read_lines(path: str | Path) -> list[tuple[str, dict[str, Any]]]:
    """Place and value of the objects of a file: JSON lines, or a list.

    Raises:
        UserError: the file contains anything else.
    """
    text = read_text(path)
    if text.lstrip().startswith("["):
        found = [(f"{path}: entry {number}", entry) for number, entry in enumerate(parse_json(text, str(path)))]
    else:
        lines = ((f"{path}:{number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
        found = [(place, parse_json(line, place)) for place, line in lines]
    for place, entry in found:
        if not isinstance(entry, dict) or not isinstance(entry.get("question_id", 0), (int, str)):
            raise UserError(f"{place}: expected an object with 'question_id'")
    return found


def make_polls(
    annotated: ObjectSets, *, per_image: int = 6, images: int | None = None, seed: int = 0
) -> dict[str, list[dict[str, Any]]]:
    """Make the three polls, with the same present objects of each image, and as many absent ones.

    Args:
        annotated: the objects of each image.
        per_image: questions about an image, half of them with the answer yes; fewer if it has fewer objects.
        images: number of random images; None: all with an object.
        seed: of the random choices.

    Returns:
        for each kind of poll the lines of its file.

    Raises:
        UserError: there are fewer than two objects in all, or no image has one.
    """
    every, per_answer = annotated.names, per_image // 2
    able = sorted((id for id, objects in annotated.of.items() if objects and len(objects) < len(every)), key=str)
    if not able or per_answer < 1:
        raise UserError("no poll can be made: images need a present and an absent object, and two questions each")
    if images is not None:
        able = sorted(Random(seed).sample(able, min(images, len(able))), key=str)
    frequency = Counter(name for objects in annotated.of.values() for name in objects)
    together = Counter((one, other) for each in annotated.of.values() for one in each for other in each)
    choose: dict[str, Callable[[Sequence[str], frozenset[str], Random], list[str]]] = {
        "random": lambda absent, _, random: random.sample(absent, len(absent)),
        "popular": lambda absent, _, random: sorted(absent, key=lambda name: (-frequency[name], name)),
        "adversarial": lambda absent, objects, _: sorted(
            absent, key=lambda name: (-sum(together[each, name] for each in objects), -frequency[name], name)
        ),
    }
    polls: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for id in able:
        objects = annotated.of[id]
        random = Random(f"{seed} {id}")
        present = random.sample(sorted(objects), min(per_answer, len(objects), len(every) - len(objects)))
        absent = [name for name in every if name not in objects]
        for kind, lines in polls.items():
            for one, other in zip(present, choose[kind](absent, objects, random), strict=False):
                lines.append(_line(len(lines) + 1, id, annotated.files.get(id), one, "yes"))
                lines.append(_line(len(lines) + 1, id, annotated.files.get(id), other, "no"))
    return polls


def _line(number: int, id: Id, file: str | None, name: str, label: str) -> dict[str, Any]:
    article = "an" if name[:1].lower() in "aeiou" else "a"
    image = file or (f"{id:012}.jpg" if isinstance(id, int) else id)
    text = f"Is there {article} {name} in the image?"
    return {"question_id": number, "image_id": id, "image": image, "text": text, "label": label}


def write_polls(folder: str | Path, polls: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write each poll to a file, `random.json` and so on, in the published format."""
    for kind, lines in polls.items():
        with replacing(Path(folder) / f"{kind}.json") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)

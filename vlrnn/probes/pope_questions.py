"""Polls: yes/no questions about objects in images, from the published files or from any annotations.

Source: Li et al., Evaluating object hallucination in large vision-language models (POPE), EMNLP 2023, section 4.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from vlrnn.data.record_ids import Id, as_id
from vlrnn.errors import UserError
from vlrnn.files import parse_json, read_text, replacing
from vlrnn.probes.object_annotations import ObjectSets

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
        image_id = as_id(str(entry["image_id"])) if "image_id" in entry else _image_id(image)
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


def _image_id(file: str) -> Id:
    stem = Path(file).stem
    number = _COCO.search(stem)
    return int(number[1]) if number else as_id(stem)


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
    together = _together(annotated.of.values())
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


def _together(sets: Iterable[frozenset[str]]) -> Counter[tuple[str, str]]:
    """Pair of objects -> number of images with both."""
    return Counter((one, other) for objects in sets for one in objects for other in objects)


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

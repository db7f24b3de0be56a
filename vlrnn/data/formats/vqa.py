"""The official files of VQA v1, VQA v2 and VQA-CP: questions, annotations, complementary pairs.

A file of VQA is an object with a list of `questions` or `annotations` and the part of COCO of its images
(`data_subtype`); a file of VQA-CP is the list alone, whose entries name this part (`coco_split`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vlrnn.data.formats.base import SkipReport
from vlrnn.data.records import Example, Id
from vlrnn.errors import UserError
from vlrnn.files import read_json

COCO_PARTS = ("train2014", "val2014", "test2015")
"""The folders of the photographs; those of `test-dev2015` are in `test2015`."""

LICENCE = "questions and answers CC BY 4.0; photographs under the terms of Flickr"


class _Annotation(NamedTuple):
    image_id: int
    answers: tuple[str, ...]
    question_type: str
    answer_type: str


def read_vqa(
    questions: Path, annotations: Path | None, dropped: SkipReport, pairs: Path | None = None
) -> list[Example]:
    """The examples of a questions file, in its order; `image` is `{part}/COCO_{part}_{image_id:012}.jpg`.

    Args:
        questions: a questions file.
        annotations: their answers, ten for each; None if they are not public.
        dropped: gets questions without an annotation, and annotations and pairs without a question.
        pairs: a file of complementary pairs: the same question about two similar images with different answers. The id
            of the other question becomes `attributes["pair"]`.

    Raises:
        UserError: a file is not of its kind (names the line, or the entry), a question or an annotation occurs twice,
            or the annotations are of other questions.
    """
    answered = _read_annotations(annotations) if annotations else {}
    others = _read_pairs(pairs, dropped) if pairs else {}
    examples: dict[Id, Example] = {}
    for place, entry, part in _entries(questions, "questions"):
        id, image_id = _ids(entry, place)
        if id in examples:
            raise UserError(f"{place}: the question {id!r} occurs twice")
        annotation = answered.get(id)
        if annotation and annotation.image_id != image_id:
            raise UserError(
                f"{place}: question {id!r} is about image {image_id}, but about {annotation.image_id} in {annotations}"
            )
        examples[id] = Example(
            id=id,
            image_id=image_id,
            image=f"{part}/COCO_{part}_{image_id:012}.jpg",
            question=_text(entry, "question", place),
            answers=annotation.answers if annotation else (),
            question_type=annotation.question_type if annotation else None,
            answer_type=annotation.answer_type if annotation else None,
            attributes={"pair": others[id]} if id in others else None,
        )
    if answered and answered.keys().isdisjoint(examples):
        raise UserError(f"{annotations}: its annotations are of other questions than those of {questions}")
    for name, ids in (("annotation", answered), ("complementary pair", others)):
        for id in ids:
            if id not in examples:
                dropped.add(f"{name} of a question that does not exist", id)
    return list(examples.values())


def _entries(path: Path, section: str) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Place, entry and part of COCO of every entry of a file."""
    # Four million answers as objects of three fields would take gigabytes.
    value = read_json(path, object_hook=_answer_alone)
    entries, common = (value.get(section), value.get("data_subtype")) if isinstance(value, Mapping) else (value, None)
    if not isinstance(entries, list):
        raise UserError(f"{path}: no file of VQA: it has no list of {section}")
    for number, entry in enumerate(entries):
        place = f"{path}: {section}[{number}]"
        if not isinstance(entry, Mapping):
            raise UserError(f"{place} is no object")
        part = str(entry.get("coco_split", common)).replace("-dev", "")
        if part not in COCO_PARTS:
            raise UserError(f"{place}: its part of COCO is {part!r}, none of {', '.join(COCO_PARTS)}")
        yield place, entry, part


def _answer_alone(value: dict[str, Any]) -> Any:
    return value["answer"] if "answer" in value and "question_id" not in value else value


def _ids(entry: Mapping[str, Any], place: str) -> tuple[Id, int]:
    id, image_id = entry.get("question_id"), entry.get("image_id")
    if not isinstance(id, (int, str)) or isinstance(id, bool):
        raise UserError(f"{place}: its 'question_id' is no whole number")
    if not isinstance(image_id, int) or isinstance(image_id, bool):
        raise UserError(f"{place} (question {id!r}): its 'image_id' is no whole number")
    return id, image_id


def _text(entry: Mapping[str, Any], name: str, place: str) -> str:
    if not isinstance(value := entry.get(name), str):
        raise UserError(f"{place} (question {entry['question_id']!r}): its {name!r} is no text")
    return value


def _read_annotations(path: Path) -> dict[Id, _Annotation]:
    annotations: dict[Id, _Annotation] = {}
    for place, entry, _ in _entries(path, "annotations"):
        id, image_id = _ids(entry, place)
        if id in annotations:
            raise UserError(f"{place}: the annotation of question {id!r} occurs twice")
        answers = entry.get("answers")
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            raise UserError(f"{place} (question {id!r}): its 'answers' are no list of objects with an 'answer'")
        kinds = _text(entry, "question_type", place), _text(entry, "answer_type", place)
        annotations[id] = _Annotation(image_id, tuple(answers), *kinds)
    return annotations


def _read_pairs(path: Path, dropped: SkipReport) -> dict[Id, Id]:
    """Question id -> id of the other question of its pair."""
    pairs = read_json(path)
    if not isinstance(pairs, list):
        raise UserError(f"{path}: expected a list of pairs of question ids, found {type(pairs).__name__}")
    others: dict[Id, Id] = {}
    for number, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(id, (int, str)) for id in pair):
            raise UserError(f"{path}: entry {number} is no pair of question ids")
        for id, other in (pair, pair[::-1]):
            if others.setdefault(id, other) != other:
                dropped.add("second complementary pair of a question", id)
    return others

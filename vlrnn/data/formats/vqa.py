"""The official files of VQA v1, VQA v2 and VQA-CP: questions, annotations, complementary pairs; of DAQUAR; of easy-VQA.

A file of VQA is an object with a list of `questions` or `annotations` and the part of COCO of its images
(`data_subtype`); a file of VQA-CP is the list alone, whose entries name this part (`coco_split`).

DAQUAR's raw files have a question on a line and its answer on the next; the question names its image (`what is on the
desk in the image3 ?`), and the answer may be a set (`book, scissor, papers`).
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vlrnn.data.formats.answers import as_example, read_official
from vlrnn.data.formats.base import SkipReport, list_in
from vlrnn.data.records import Example, Id
from vlrnn.errors import UserError
from vlrnn.files import read_json, read_text
from vlrnn.text.vqa_normalization import normalize_answer

COCO_PARTS = ("train2014", "val2014", "test2015")
"""The folders of the photographs; those of `test-dev2015` are in `test2015`."""

LICENCE = "questions and answers CC BY 4.0; photographs under the terms of Flickr"


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
    answered = {each.id: each for _, each in _entries(annotations, "annotations")} if annotations else {}
    others = _read_pairs(pairs, dropped) if pairs else {}
    examples: dict[Id, Example] = {}
    for place, question in _entries(questions, "questions"):
        id, annotation = question.id, answered.get(question.id, question)
        if annotation.image_id != question.image_id:
            raise UserError(
                f"{place}: question {id!r} is about image {question.image_id}, but about {annotation.image_id} in "
                f"{annotations}"
            )
        attributes = {"pair": others[id]} if id in others else None
        examples[id] = replace(annotation, image=question.image, question=question.question, attributes=attributes)
    if answered and answered.keys().isdisjoint(examples):
        raise UserError(f"{annotations}: its annotations are of other questions than those of {questions}")
    for name, ids in (("annotation", answered), ("complementary pair", others)):
        for id in ids:
            if id not in examples:
                dropped.add(f"{name} of a question that does not exist", id)
    return list(examples.values())


def _entries(path: Path, section: str) -> Iterator[tuple[str, Example]]:
    """Place and example of every entry of a file of questions or annotations, each question once."""
    value, found = read_official(path), set[Id]()
    entries = value if isinstance(value, list) else list_in(value, section, f"{path}: no file of VQA")
    for number, entry in enumerate(entries):
        place = f"{path}: {section}[{number}]"
        example = as_example(entry, place)
        part = str(entry.get("coco_split", None if entries is value else value.get("data_subtype"))).replace("-dev", "")
        if part not in COCO_PARTS:
            raise UserError(f"{place}: its part of COCO is {part!r}, none of {', '.join(COCO_PARTS)}")
        if not isinstance(entry.get("image_id"), int):
            raise UserError(f"{place} (question {example.id!r}): its 'image_id' is no whole number")
        if section == "annotations" and not example.answers:
            raise UserError(f"{place} (question {example.id!r}): has no 'answers'")
        if example.id in found:
            raise UserError(f"{place}: question {example.id!r} occurs twice")
        found.add(example.id)
        yield place, replace(example, image=f"{part}/COCO_{part}_{example.image_id:012}.jpg")


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


_NAME = re.compile(r"\bimage\d+\b")
_WHERE = re.compile(r"\s*\b(?:in|on)\s+(?:(?:the|this)\s+)?image\d+\b")
_ARTICLE = re.compile(r"\b(the|this)\s+image\d+\b")
_COUNT = re.compile(r"how many\b")
_COLOUR = re.compile(r"(?:\S+ ){1,3}colou?rs?\b")


def read_daquar(
    path: Path, split: str, images: Sequence[Path], listed: Path | None, dropped: SkipReport
) -> list[Example]:
    """The examples of one file of questions, in its order.

    The id is the split and the number of the pair. An answer is one text, normalised as those of VQA (`garbage_bin` is
    `garbage bin`); the members of a set are sorted and joined with ", ", so that a set has one spelling.

    Args:
        path: a file such as `qa.train.txt`.
        split: the name of the split, for the ids.
        images: files of images, at least those of this split (`image3.jpg`, or `.png`).
        listed: the list of the split's images (`train_images.txt`), if there is one.
        dropped: gets questions about images that are not listed, and listed images without a question.

    Raises:
        UserError: a file cannot be read, a question names no image, an answer names one, or the last question has no
            answer; names file and line.
    """
    files = {image.stem: image.name for image in images}
    names = dict.fromkeys(read_text(listed).split()) if listed else None
    used: set[str] = set()
    examples = []
    lines = read_text(path).rstrip("\n").split("\n")
    for number in range(1, len(lines), 2):
        question, answer = lines[number - 1 : number + 1]
        if not (named := _NAME.findall(question)):
            raise UserError(f"{path}:{number}: a question must name its image (in the image3 ?): {question[:60]!r}")
        if _NAME.search(answer):
            raise UserError(f"{path}:{number + 1}: expected an answer, not a question: {answer[:60]!r}")
        image = named[-1]
        used.add(image)
        if names is not None and image not in names:
            dropped.add(f"question about an image that is not in {listed}", f"line {number}")
            continue
        text = plain_question(question)
        id, file = f"{split}-{(number + 1) // 2}", files.get(image, f"{image}.jpg")
        right = ", ".join(sorted({*filter(None, map(normalize_answer, answer.split(",")))}))
        kind = question_type(text)
        examples.append(Example(id, image, file, question=text, answers=(right,), question_type=kind))
    if len(lines) % 2:
        raise UserError(f"{path}:{len(lines)}: there is no answer to the last question")
    for name in names or ():
        if name not in used:
            dropped.add("image without a question", name)
    return examples


def plain_question(question: str) -> str:
    """The question without the name of its image: "in the image3" is removed, and "on the left side of the image3"
    becomes "on the left side of the image"."""
    text = _ARTICLE.sub(r"\1 image", _WHERE.sub("", question))
    return " ".join(_NAME.sub("", text).replace("?", "").split()) + "?"


def question_type(question: str) -> str:
    """`number` for "how many ...", `color` if the second to fourth word is colour or color, or the plural, otherwise
    `object`: the three kinds of questions of DAQUAR (Malinowski and Fritz 2014)."""
    if _COUNT.match(question):
        return "number"
    return "color" if _COLOUR.match(question) else "object"


def read_easy_vqa(source: Path, split: str, answers: Collection[str], dropped: SkipReport) -> list[Example]:
    """The examples of one split, in the order of its file. Ids and image ids start with the split, because the release
    numbers the images of each split from 0. `answer_type` is `yes/no` or `other`.

    Args:
        source: the folder with `{split}/questions.json` and `{split}/images/`.
        split: `train` or `test`.
        answers: of `answers.txt`; questions with another answer are dropped.
        dropped: gets the questions that are left out.

    Raises:
        UserError: the file is not of this format; names the line or the entry.
    """
    path = source / split / "questions.json"
    entries = read_json(path)
    if not isinstance(entries, list):
        raise UserError(f"{path}: expected a list of [question, answer, image], found {type(entries).__name__}")
    examples = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, list) or [type(each) for each in entry] != [str, str, int]:
            raise UserError(f"{path}: entry {number} is no [question, answer, image number]")
        question, answer, image = entry
        if answer not in answers:
            dropped.add("question whose answer is not in answers.txt", f"{split}-{number}")
            continue
        kind = "yes/no" if answer in ("yes", "no") else "other"
        place = f"{split}-{number}", f"{split}-{image}", f"{split}/images/{image}.png"
        examples.append(Example(*place, question=question, answers=(answer,), answer_type=kind))
    return examples

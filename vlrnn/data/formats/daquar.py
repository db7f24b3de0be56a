"""DAQUAR's raw files: a question on a line and its answer on the next; the question names its image (`what is on
the desk in the image3 ?`), and the answer may be a set (`book, scissor, papers`).
"""

import re
from collections.abc import Sequence
from pathlib import Path

from vlrnn.data.formats.base import SkipReport
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.files import read_text
from vlrnn.text.vqa_normalization import normalize_answer

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
        examples.append(
            Example(
                id=f"{split}-{(number + 1) // 2}",
                image_id=image,
                image=files.get(image, f"{image}.jpg"),
                question=text,
                answers=(", ".join(sorted({*filter(None, map(normalize_answer, answer.split(",")))})),),
                question_type=question_type(text),
            )
        )
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

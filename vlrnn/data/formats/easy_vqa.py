"""easy-VQA's files: a list of `[question, answer, image]` for each split, and a list of all answers."""

from collections.abc import Collection
from pathlib import Path

from vlrnn.data.formats.base import SkipReport
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.files import read_json


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
        examples.append(
            Example(
                id=f"{split}-{number}",
                image_id=f"{split}-{image}",
                image=f"{split}/images/{image}.png",
                question=question,
                answers=(answer,),
                answer_type="yes/no" if answer in ("yes", "no") else "other",
            )
        )
    return examples

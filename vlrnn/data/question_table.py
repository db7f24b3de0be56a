"""Questions about a folder of images, as people have them: a CSV with a line for each answer, or a JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlrnn.data.image_names import ImageFolder
from vlrnn.data.prepare import Splits
from vlrnn.data.splitting import draw_splits
from vlrnn.data.table import Entry, read_table
from vlrnn.errors import UserError
from vlrnn.records import SPLITS, Example
from vlrnn.text.answers import canonical


@dataclass
class _Asked:
    number: int
    question_type: str | None
    answer_type: str | None
    answers: list[str] = field(default_factory=list)


def read_questions(path: Path, folder: ImageFolder, shares: Sequence[float], seed: int) -> Splits:
    """The examples of a file of questions, one for each, in the splits that it says, or else drawn by chance.

    The lines with the same question about the same image are the answers of several annotators. They are normalised, as
    those of VQA are: where all are the same, its protocols compare them as they stand, and `Yes` is not `yes`. An empty
    answer is none: a test split may be without answers. Questions are numbered from 1, in the order of the file; the
    number is the id.

    CSV columns: `image`, `question`, `answer`, and, if wanted, `split`, `question_type` and `answer_type`. JSON: a list
    of `{"image": ..., "question": ..., "answer": ... or "answers": [...], "split": ...}`, or such lists by image,
    `{"a.jpg": [{"question": ..., "answer": ...}, ...]}`.

    Args:
        path: `.json`, `.jsonl`, or else a CSV whose first line names the columns.
        folder: of the images.
        shares: of the images that go to train, val and test, when the file does not say.
        seed: another seed, other splits.

    Raises:
        UserError: the file is neither (names the line or the entry), only some questions name their split, or shares
            that do not make a whole.
    """
    asked: dict[tuple[str, str | None, str], _Asked] = {}
    for entry in read_table(path, folder, ["question", "answer"], lambda questions: questions):
        question = " ".join((_text(entry, "question") or "").split())
        kinds = _text(entry, "question_type") or None, _text(entry, "answer_type") or None
        same = asked.setdefault((entry.image, entry.split, question), _Asked(len(asked) + 1, *kinds))
        same.answers.extend(filter(None, map(canonical, entry.texts("answer") or ())))
    homes = draw_splits([(image, split) for image, split, _ in asked], shares, seed, "questions")
    splits: Splits = {split: [] for split in SPLITS}
    for (image, split, question), same in asked.items():
        example = Example(
            id=same.number,
            image_id=image,
            image=image,
            question=question,
            answers=tuple(same.answers),
            question_type=same.question_type,
            answer_type=same.answer_type,
        )
        splits[homes[image, split]].append(example)
    return splits


def _text(entry: Entry, name: str) -> str | None:
    value = entry.values.get(name)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{entry.place}: {name!r} must be a text")
    return value

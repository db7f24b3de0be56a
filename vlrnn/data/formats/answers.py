"""Questions and answers for scoring: official files of VQA, VQA-CP, VizWiz, TextVQA and GQA, and prepared `.jsonl`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlrnn.data.formats.base import id_of, object_of, text_of
from vlrnn.data.formats.results import ResultForm, read_results
from vlrnn.data.matching import Matched, Missing, match, name_some
from vlrnn.data.record_ids import check_each_once
from vlrnn.data.records import Example, Id, Prediction, RecordFile, ScoredExample
from vlrnn.errors import UserError
from vlrnn.files import read_json, write_json

_RESULTS = ResultForm(
    ids=("question_id", "questionId", "image"),
    texts=("answer", "prediction"),
    what="answer",
    file='a VQA result file: [{"question_id": ..., "answer": ...}, ...]',
)

Questions = dict[Id, Example]
"""Question id -> the question with its answers. Where the file names no image, `image` is empty and `image_id` the
question's id."""


def read_questions(path: str | Path, questions: str | Path | None = None) -> Questions:
    """The questions of a file, with their answers if it has them.

    Args:
        path: a prepared `.jsonl`; official annotations; or official questions, without answers. In VizWiz, with one
            question per image, the file of the image is the id; the question type of GQA is the structural one.
        questions: the official questions of the annotations, for their texts; ids and images are checked.

    Raises:
        UserError: the file is none of these; an id occurs twice; answers are missing; or annotations and questions
            differ in ids or images. Names the file and the item.
    """
    found = _read(Path(path))
    if questions is None:
        return found
    question_set = _read(Path(questions))
    for some, others, place, other in ((found, question_set, path, questions), (question_set, found, questions, path)):
        if strangers := [id for id in some if id not in others]:
            count, names = len(strangers), name_some(strangers)
            raise UserError(f"{place}: {count} of its questions are not in {other}: {names}")
    for id, example in found.items():
        if example.image_id != question_set[id].image_id:
            ours, theirs = example.image_id, question_set[id].image_id
            raise UserError(f"{path}: question {id!r} is about image {ours!r}, but about {theirs!r} in {questions}")
    return {id: replace(example, question=question_set[id].question) for id, example in found.items()}


def read_answered(path: str | Path) -> Questions:
    """The questions of a file, all with answers; arguments and errors as of `read_questions`.

    Raises:
        UserError: a question has no answers.
    """
    found = read_questions(path)
    if bare := [id for id, example in found.items() if not example.answers]:
        raise UserError(f"{path}: {len(bare)} of {len(found)} questions have no answers: {name_some(bare)}")
    return found


def match_answers(
    path: str | Path,
    questions: Mapping[Id, Example],
    missing: Missing = "error",
    hint: str = "there must be one for each",
) -> Matched[Example]:
    """Match questions with the predictions of a file; see `match`.

    Raises:
        UserError: the file is invalid, ids do not match, or a prediction has another image than its question.
    """
    matched = match(read_answers(path), questions, missing, str(path), by="id", hint=hint)
    for id, prediction in matched.predictions.items():
        about, right = prediction.image_id, questions[id].image_id
        # Without an image in the file, the image id is the question's id; and 7 may be the image '000007'.
        names_image = about != prediction.id and right != id and type(about) is type(right)
        if names_image and about != right:
            raise UserError(
                f"{path}: the answer to question {id!r} is about image {about!r}, the question about {right!r}"
            )
    return matched


def read_answers(path: str | Path) -> list[Prediction]:
    """Predicted answers, in the order of the file.

    Args:
        path: a `.jsonl` of Predictions, or official results, a list or lines of `{"question_id", "answer"}`; of VizWiz
            `{"image", "answer"}`, of GQA `{"questionId", "prediction"}`.

    Raises:
        UserError: the file is none of these, is empty, or has an answer that is no text; names the place.
    """
    return read_results(path, _RESULTS)


def write_answers(path: str | Path, predictions: Mapping[Id, Prediction]) -> None:
    """Write the official result file for the challenge server, from question id -> prediction."""
    write_json(path, [{"question_id": id, "answer": prediction.text} for id, prediction in predictions.items()])


def _read(path: Path) -> Questions:
    questions: Questions = {}
    for example in RecordFile(path, ScoredExample) if path.suffix == ".jsonl" else _entries(path):
        if path.suffix == ".jsonl" and example.question is None:
            raise UserError(f"{path}: {example.id!r} has no question")
        if example.id in questions:
            raise UserError(f"{path}: question {example.id!r} occurs twice")
        questions[example.id] = example
    if not questions:
        raise UserError(f"{path}: holds no questions")
    check_each_once(questions, list(questions).__getitem__, str(path))
    return questions


def read_official(path: Path) -> Any:
    """The value of an official file of questions or answers, an object or a list, in which an annotator's answer is its
    text alone."""
    shared: dict[str, str] = {}

    def answer_alone(value: dict[str, Any]) -> Any:
        """Replace the objects of annotators' answers by shared strings: two million objects take gigabytes. An object
        with a question is left as it is."""
        answer = value.get("answer")
        if not isinstance(answer, str) or "question_id" in value or "question" in value or "image" in value:
            return value
        return shared.setdefault(answer, answer)

    return read_json(path, object_hook=answer_alone)


def _entries(path: Path) -> Iterator[Example]:
    value = read_official(path)
    if isinstance(value, dict):
        value = next((value[name] for name in ("annotations", "questions", "data") if name in value), value)
    if isinstance(value, dict) and value and all(map(_of_gqa, value.values())):
        value = [{"question_id": id, **entry} for id, entry in value.items()]
    if not isinstance(value, list):  # files of VQA-CP and VizWiz are the list itself
        raise UserError(
            f"{path}: no questions: expected a prepared .jsonl, or official JSON of VQA (with 'annotations' or "
            "'questions'), VizWiz, TextVQA (with 'data') or GQA"
        )
    for number, entry in enumerate(value):
        yield as_example(entry, f"{path}: entry {number}")


def _of_gqa(entry: Any) -> bool:
    return isinstance(entry, dict) and "question" in entry and "imageId" in entry


def as_example(entry: Any, place: str) -> Example:
    """Convert an annotation or a question of `read_official`; `image` is empty.

    Raises:
        UserError: it is none, or has neither a question nor answers.
    """
    entry = object_of(entry, place)
    id = id_of(entry, ("question_id", "image") if "question" in entry else ("question_id",), place)
    answers = [entry["answer"]] if _of_gqa(entry) and "answer" in entry else entry.get("answers", ())
    if not answers and ("answers" in entry or "question" not in entry):
        raise UserError(f"{place}: question {id!r} has no {'answers' if 'answers' in entry else 'text and no answers'}")
    if not (isinstance(answers, (list, tuple)) and all(isinstance(answer, str) for answer in answers)):
        raise UserError(f"{place}: 'answers' of question {id!r} are no list of objects with an 'answer' that is text")
    image_names = [name for name in ("image_id", "imageId", "image") if name in entry]
    if isinstance(types := entry.get("types"), dict):  # of GQA
        entry = {"question_type": types.get("structural"), **entry}
    names = [name for name in ("question", "question_type", "answer_type") if entry.get(name) is not None]
    texts = {name: text_of(entry, name, f"{place} (question {id!r})") for name in names}
    image_id = id_of(entry, image_names, place) if image_names else id
    question, question_type, answer_type = (texts.get(name) for name in ("question", "question_type", "answer_type"))
    return Example(id, image_id, "", (), question, tuple(answers), question_type, answer_type)

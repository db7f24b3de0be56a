"""ask: answer questions about images."""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vlrnn.commands.generation_flags import add_model, add_out, open_out, put_out
from vlrnn.errors import UserError
from vlrnn.files import read_json_lines, read_text
from vlrnn.progress import print_progress
from vlrnn.terminal import percent, print_json, print_line

if TYPE_CHECKING:
    from vlrnn.commands.prediction_file import PredictionFile
    from vlrnn.data.records import Prediction
    from vlrnn.inference.predictor import Predictor

_AT_ONCE = 64  # questions about one image


class _Question(NamedTuple):
    id: str | int
    image: Path
    text: str
    place: str  # in a file, for errors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", nargs="?", help="not needed if FILE names images")
    parser.add_argument("questions", nargs="*", metavar="QUESTION")
    parser.add_argument(
        "--questions",
        dest="file",
        metavar="FILE",
        help="one question per line; or .csv or .jsonl with question, image (relative to FILE) and question_id",
    )
    add_model(parser, " for each question, one per line")
    add_out(parser, "image, question, rank, answer, score")


def run(arguments: argparse.Namespace) -> int:
    """Answer all questions; where one cannot be answered, or an image not be read, a line reports it and the others go
    on. Words outside the vocabulary are printed to stderr.

    Returns:
        the exit code: 2 when a question was not answered.
    """
    with open_out(arguments) as file:
        return 0 if file and file.is_finished else _run(arguments, file)


def _run(arguments: argparse.Namespace, file: "PredictionFile | None") -> int:
    from vlrnn.commands.prediction_file import keys
    from vlrnn.inference.predictor import Predictor

    questions = list(_questions(arguments))
    if not questions:
        raise UserError("there is no question; give IMAGE QUESTION ..., or --questions FILE")
    predictor = Predictor.load(arguments.checkpoint, arguments.device, trust=arguments.trust)
    named = dict(zip(keys([str(each.id) for each in questions]), questions, strict=True))
    if file:
        file.begin({"model": predictor.fingerprint(), "questions": arguments.file}, list(named))
    left = {key: each for key, each in named.items() if not file or key not in file.found}
    show = partial(_show, predictor=predictor, arguments=arguments)
    missed, _ = put_out("ask", _answers(predictor, left), list(named), "questions", file, show)
    return 2 if missed else 0


def _questions(arguments: argparse.Namespace) -> Iterator[_Question]:
    """Those of the command line, then those of the file."""
    for number, text in enumerate(arguments.questions, 1):
        yield _Question(number, Path(arguments.image), text, "")
    if arguments.file is None:
        return
    path = Path(arguments.file)
    for number, (place, row) in enumerate(_rows(path), len(arguments.questions) + 1):
        if not isinstance(row, Mapping) or not isinstance(row.get("question"), str):
            raise UserError(f"{place}: names no question")
        image = row.get("image") or row.get("image_id")
        if image is None and arguments.image is None:
            raise UserError(f"{place}: names no image; give it a column or key image, or give IMAGE")
        located = Path(arguments.image) if image is None else path.parent / str(image)
        yield _Question(row.get("question_id") or number, located, row["question"], f"{place}: ")


def _rows(path: Path) -> Iterable[tuple[str, Any]]:
    """Place and values of each entry."""
    if path.suffix == ".csv":
        from vlrnn.data.formats.base import read_csv

        return read_csv(path, ("question", "image", "question_id"), ("question",))
    if path.suffix == ".jsonl":
        return read_json_lines(path)
    lines = enumerate(read_text(path).splitlines(), 1)
    return [(f"{path}:{number}", {"question": line.strip()}) for number, line in lines if line.strip()]


def _answers(
    predictor: "Predictor", questions: "Mapping[Any, _Question]"
) -> "Iterator[tuple[Any, Prediction | UserError]]":
    """What becomes of each question; questions about one image that follow each other are answered at a time. An image
    that cannot be read gives one error, for the first of them."""
    for image, group in groupby(questions.items(), key=lambda item: item[1].image):
        good = []
        for key, each in group:
            if any(map(str.isalnum, each.text)):
                good.append((key, each))
            else:
                yield key, UserError(f"{each.place}a question without words: {each.text!r}")
        for part in (good[first : first + _AT_ONCE] for first in range(0, len(good), _AT_ONCE)):
            try:
                found = predictor.answers(image, [each.text for _, each in part])
            except UserError as fault:
                yield part[0][0], fault
                break
            for (key, each), answer in zip(part, found, strict=True):
                yield key, replace(answer, id=each.id, settings={**answer.settings, "question": each.text})


def _show(answer: "Prediction", predictor: "Predictor", arguments: argparse.Namespace) -> None:
    question = answer.settings["question"]
    unknown = predictor.unknown_words(question)
    if arguments.json:
        settings = {name: value for name, value in answer.settings.items() if name != "question"}
        print_json({**asdict(answer), "settings": settings, "question": question, "unknown_words": unknown})
        return
    if unknown:
        print_progress(f"vlrnn ask: {question}: words that are not in the vocabulary: {', '.join(unknown)}")
    apart = ", of each answer by itself: they need not add up to 100 %" if answer.score_name == "sigmoid" else ""
    image = f"{answer.image_id}: " if arguments.file else ""
    print_line(f"{image}{question}: {answer.text}")
    print_line(f"  {answer.score_name}{apart}")
    for each in ({"text": answer.text, "score": answer.score}, *answer.alternatives):
        print_line(f"  {percent(each['score']):>8}  {each['text']}")

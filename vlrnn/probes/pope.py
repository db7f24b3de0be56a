"""POPE: object hallucination, by scores of the answers to polls.

Source: Li et al., Evaluating object hallucination in large vision-language models, EMNLP 2023, section 4.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlrnn.data.formats.captions import read_predictions
from vlrnn.data.matching import match, name_some
from vlrnn.data.record_ids import Id, as_id
from vlrnn.errors import UserError
from vlrnn.metrics.statistics import MeansByImage, Ratio, Scores, bootstrap_settings
from vlrnn.probes.finding import TELLING, Finding
from vlrnn.probes.object_annotations import ObjectSets, PollQuestion, read_lines
from vlrnn.probes.object_mentions import Mentions

FREQUENT = 0.05
"""The blind baseline answers yes for objects that are in a larger fraction of images than this."""

LENIENT = "case and marks aside"
"""The row of scores in which `NO` and `No!` count as no, unlike in the published script."""

Polls = Mapping[str, Sequence[PollQuestion]]
"""Name of a poll -> its questions."""


_DOUBTS = frozenset({"certain", "clear", "idea", "know", "sure"})
"""Words that make a preceding `no` or `not` no answer: `I do not know`."""


class Reply(NamedTuple):
    """A parsed answer: `yes` or no; `clear` if it has the word yes or no; `hides_no` if it is yes only because the
    published script distinguishes `NO` and `No!` from `no`."""

    yes: bool
    clear: bool = True
    hides_no: bool = False


def parse_reply(text: str) -> Reply:
    """Parse an answer as the published script does: no if its first sentence has the word `no`, `No` or `not`,
    otherwise yes. It is clear if it has `yes` in any case, or one of these words, except in phrases such as `not
    sure`."""
    words = text.split(".")[0].replace(",", "").split(" ")
    tokens = [word.strip("!?;:\"'").lower() for word in words]
    denies = [word in ("no", "not") and after not in _DOUBTS for word, after in pairwise([*tokens, ""])]
    yes = {"No", "no", "not"}.isdisjoint(words)
    return Reply(yes, "yes" in tokens or any(denies), yes and not {"no", "not"}.isdisjoint(tokens))


def read_replies(paths: Sequence[str | Path], polls: Polls) -> tuple[dict[str, list[Reply]], list[str]]:
    """The answers to polls, question by question, and notes on answers without a question.

    Args:
        paths: a file for each poll, or one for all. Either all answers have a `question_id`, or none has, and they are
            in the order of the questions, as for the published script.
        polls: the questions; with one file for all and ids, the ids must be unique over all polls.

    Raises:
        UserError: the number of files is wrong; an answer is missing, occurs twice, is no text or belongs to another
            question; or an id is of several questions. Names the file and the question.
    """
    names = list(polls)
    if len(paths) not in (1, len(names)):
        raise UserError(f"--answers: {len(paths)} files for {len(names)} polls; give one, or one for each")
    replies: dict[str, list[Reply]] = {}
    notes: list[str] = []
    for path, answered in zip(paths, [names] if len(paths) == 1 else [[name] for name in names], strict=True):
        questions = [question for name in answered for question in polls[name]]
        lines = read_lines(path)
        numbered = any("question_id" in entry for _, entry in lines)
        texts = _by_id(path, lines, questions, notes) if numbered else _in_order(path, lines, questions)
        if empty := [question.id for question, text in zip(questions, texts, strict=True) if not text.strip()]:
            notes.append(f"{path}: {len(empty)} answers are empty, and count as yes: {name_some(empty)}")
        each = map(parse_reply, texts)
        replies |= {name: [*islice(each, len(polls[name]))] for name in answered}
    return replies, notes


Lines = Sequence[tuple[str, Mapping[str, Any]]]
"""Place and value of the objects of a file."""


def _by_id(path: str | Path, lines: Lines, questions: Sequence[PollQuestion], notes: list[str]) -> list[str]:
    """The answer to each question, by id; answers without a question add a note."""
    texts: dict[Id, str] = {}
    for place, entry in lines:
        if "question_id" not in entry:
            raise UserError(f"{place}: 'question_id' is missing, but other answers have it")
        id = as_id(str(entry["question_id"]))
        if id in texts:
            raise UserError(f"{place}: question {id!r} is answered twice")
        texts[id] = _text(place, entry)
    counts = Counter(question.id for question in questions)
    if doubled := [id for id, count in counts.items() if count > 1]:
        raise UserError(
            f"{path}: {len(doubled)} ids are of questions in several polls, {name_some(doubled)}; "
            "give a file for each poll"
        )
    if missing := [id for id in counts if id not in texts]:
        raise UserError(f"{path}: {len(missing)} questions have no answer: {name_some(missing)}")
    if unknown := [id for id in texts if id not in counts]:
        notes.append(f"{path}: {len(unknown)} answers to questions of no poll: {name_some(unknown)}")
    return [texts[question.id] for question in questions]


def _in_order(path: str | Path, lines: Lines, questions: Sequence[PollQuestion]) -> list[str]:
    """The answer to each question, by position; the field `question`, if present, must have the same object."""
    if len(lines) != len(questions):
        raise UserError(
            f"{path}: {len(lines)} answers to {len(questions)} questions; give one to each, in their order, "
            "or each its 'question_id'"
        )
    for (place, entry), question in zip(lines, questions, strict=True):
        if question.object.casefold() not in str(entry.get("question", question.object)).casefold():
            raise UserError(
                f"{place}: answers {entry['question']!r}, but the poll has {question.text!r}; "
                "give answers in the order of the questions, or each its 'question_id'"
            )
    return [_text(place, entry) for place, entry in lines]


def _text(place: str, entry: Mapping[str, Any]) -> str:
    text = entry.get("answer", entry.get("text"))
    if not isinstance(text, str):
        raise UserError(f"{place}: expected an 'answer' that is text")
    return text


def mentioned(captions: Mapping[Id, str], find: Mentions, questions: Sequence[PollQuestion]) -> list[Reply]:
    """The replies of a captioner: yes for objects that its caption of the image mentions."""
    return [Reply(each.object in find(captions[each.image_id])) for each in questions]


def read_captions(path: str | Path, polls: Polls) -> tuple[dict[Id, str], list[str]]:
    """Image id -> caption, for all images of the polls, and notes on corrections of ids.

    Raises:
        UserError: the file has no predictions, or an image has no caption.
    """
    images = {question.image_id: question for each in polls.values() for question in each}
    files = {id: question.image for id, question in images.items()}
    matched = match(read_predictions(path), images, "skip", str(path), files=files)
    if missing := [id for id in images if id not in matched.predictions]:
        raise UserError(f"{path}: {len(missing)} images of the polls have no caption: {name_some(missing)}")
    return matched.texts, matched.notes


_NO_YES = "no question has the answer yes"
_LACKING = {"precision": "never answers yes", "recall": _NO_YES, "f1": _NO_YES}
"""Score -> why a poll may lack it."""


def score_polls(
    polls: Polls,
    replies: Mapping[str, Sequence[Reply]],
    *,
    annotated: ObjectSets | None = None,
    training: ObjectSets | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """Accuracy, precision, recall and F1 of yes, and the fractions of yes and of unclear answers, in 0..1, of each poll
    and, if there are several, of all (`pooled`).

    Args:
        polls: the questions.
        replies: to each poll, question by question.
        annotated: the objects of each image, for the oracle.
        training: the objects of each training image, for the blind baseline; by default `annotated`, or else the
            objects in the polls.
        resamples, seed: of the bootstrap over images.
    """

    def scores(reply: Callable[[str, Sequence[PollQuestion]], Sequence[Reply]]) -> dict[str, Any]:
        answered = {name: list(zip(each, reply(name, each), strict=True)) for name, each in polls.items()}
        if len(answered) > 1:
            answered["pooled"] = [pair for each in answered.values() for pair in each]
        return {name: _scores(each, resamples, seed) for name, each in answered.items()}

    found = scores(lambda name, _: replies[name])
    one_sided = {name: each[0].label for name, each in polls.items() if len({it.label for it in each}) == 1}
    notes = [f"{name}: every question has the answer {'yes' if yes else 'no'}" for name, yes in one_sided.items()]
    baselines = {"always yes": scores(lambda _, questions: [Reply(True)] * len(questions))}
    if any(reply.hides_no for each in replies.values() for reply in each):
        baselines[LENIENT] = scores(lambda name, _: [Reply(each.yes and not each.hides_no) for each in replies[name]])
        notes += _hidden(polls, replies, found, baselines[LENIENT])
    training_objects = training or annotated or _objects_of(polls)
    source = "of training" if training else "with their objects" if annotated else "of the polls"
    often = frequent(training_objects)
    baselines["frequent"] = scores(lambda _, each: [Reply(question.object in often) for question in each])
    if annotated is not None:
        if unknown := {question.image_id for each in polls.values() for question in each} - annotated.of.keys():
            notes.append(f"no oracle: {len(unknown)} images of the polls have no objects")
        else:
            baselines["oracle"] = scores(lambda _, each: [Reply(it.object in annotated.of[it.image_id]) for it in each])
    used: dict[str, Any] = {
        "questions": {name: len(each) for name, each in polls.items()},
        "frequent": f"in more than {FREQUENT:.0%} of {len(training_objects.of):,} images {source}",
    }
    lacking = [(name, score) for name, each in found.items() for score in _LACKING if score not in each]
    return Finding(
        scores=found,
        settings=used | bootstrap_settings(resamples, seed),
        baselines=baselines,
        cases=_invented(polls, replies),
        not_computed={f"{name}: {score}": _LACKING[score] for name, score in lacking},
        notes=notes,
    )


def _hidden(
    polls: Polls, replies: Mapping[str, Sequence[Reply]], found: Mapping[str, Any], lenient: Mapping[str, Any]
) -> list[str]:
    """Notes on answers that are no but count as yes in the published script."""
    notes = []
    for name, questions in polls.items():
        if ids := [question.id for question, reply in zip(questions, replies[name], strict=True) if reply.hides_no]:
            ours, theirs = (scores[name]["accuracy"]["value"] for scores in (lenient, found))
            notes.append(
                f"{name}: {len(ids)} answers are no in another case or with punctuation (NO, No!), which counts as yes "
                f"in the published script, and here: {name_some(ids)}; accuracy is {theirs:.4f}, read as no {ours:.4f}"
            )
    return notes


def _objects_of(polls: Polls) -> ObjectSets:
    """The objects of images, from the labels of the questions."""
    of: dict[Id, frozenset[str]] = {}
    for question in (question for each in polls.values() for question in each):
        objects = frozenset([question.object] if question.label else [])
        of[question.image_id] = of.get(question.image_id, objects) | objects
    return ObjectSets(of, {})


def frequent(annotated: ObjectSets) -> frozenset[str]:
    """Objects that are in a larger fraction of images than `FREQUENT`."""
    counts = Counter(name for objects in annotated.of.values() for name in objects)
    return frozenset(name for name, count in counts.items() if count > FREQUENT * len(annotated.of))


def _scores(answered: Sequence[tuple[PollQuestion, Reply]], resamples: int, seed: int) -> Scores:
    yes, clear, right = np.array([(reply.yes, reply.clear, question.label) for question, reply in answered]).T
    count = yes | True
    parts = {
        "accuracy": Ratio(yes == right, count),
        "precision": Ratio(yes & right, yes),
        "recall": Ratio(yes & right, right),
        "f1": Ratio(2 * (yes & right), yes.astype(int) + right, len(answered)),
        "yes_ratio": Ratio(yes, count),
        "unknown_ratio": Ratio(~clear, count),
    }
    return MeansByImage([question.image_id for question, _ in answered], resamples, seed).ratios(parts)


def _invented(polls: Polls, replies: Mapping[str, Sequence[Reply]]) -> list[dict[str, Any]]:
    """Wrong answers: first yes, in the order from the last poll (the hardest); then no."""
    wrong = [
        (question, reply, name)
        for name in reversed(list(polls))
        for question, reply in zip(polls[name], replies[name], strict=True)
        if reply.yes != question.label
    ]
    return [
        {
            "id": question.image_id,  # for the image in a report; question ids repeat between polls
            "poll": name,
            "question_id": question.id,
            "image": question.image,
            "question": question.text,
            "said": "yes" if reply.yes else "no",
        }
        for question, reply, name in sorted(wrong, key=lambda each: not each[1].yes)[:TELLING]
    ]

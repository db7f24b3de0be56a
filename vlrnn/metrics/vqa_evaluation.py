"""Evaluation of answer files: `vlrnn score vqa`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlrnn.data.formats.answers import match_answers, read_questions, write_answers
from vlrnn.data.formats.results import note_markup
from vlrnn.data.matching import GO_ON, Matched, Missing, in_common
from vlrnn.data.records import Example, Id
from vlrnn.errors import UserError
from vlrnn.metrics.caption_evaluation import Evaluation, match_settings
from vlrnn.metrics.statistics import Floats, bootstrap_settings
from vlrnn.metrics.vqa import WUPS_NAMES, AnswerScores, accuracies, compare_answers
from vlrnn.metrics.wups import WordNet
from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL

_MUCH = 1.0
"""Percentage points: the least difference of another protocol that gives a note."""


def evaluate_answers(
    references: str | Path,
    predictions: str | Path,
    compare: str | Path | None = None,
    *,
    questions: str | Path | None = None,
    missing: Missing = "error",
    protocol: str = DEFAULT_PROTOCOL,
    wordnet: str | Path | None = None,
    official: str | Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score answers as the official VQA evaluation does (accuracy over all and per type, exact match and WUPS), with
    confidence intervals.

    Args:
        references: prepared .jsonl, or annotations of VQA, VizWiz, TextVQA, GQA; with --official also questions.
        predictions: predictions.jsonl, or official results (question_id, answer).
        compare: predictions of another system, for a paired comparison on the common questions.
        questions: the official questions, to be checked against the annotations.
        missing: ids that are missing, unknown or duplicate: refuse, score the rest, or score a missing one as empty.
        protocol: how answers are normalised (docs/metrics.md).
        wordnet: WordNet's database files, for WUPS.
        official: write PRED in the format of the challenge server; REF needs no answers, and nothing is scored then.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Raises:
        UserError: a file is invalid, or ids do not match.
    """
    database = WordNet(wordnet) if wordnet is not None else None
    question_set = read_questions(references, questions)
    matched = match_answers(predictions, question_set, missing, GO_ON)
    if official is not None:
        write_answers(official, matched.predictions)
        matched.notes.append(f"{official}: {len(matched.predictions)} answers for the challenge server")
    settings = match_settings(references, predictions, missing, matched)
    settings["questions"] = None if questions is None else str(questions)
    if not _has_answers(question_set, references, official):
        lacking = {"overall": f"{references} holds no answers"}
        return Evaluation({}, settings, lacking, matched.notes, _items(matched, {}))
    theirs = None
    if compare is not None:
        theirs = match_answers(compare, question_set, missing, GO_ON)
        matched, theirs = in_common(matched, theirs, "questions for which both systems have answers")
    scores = compare_answers(matched.texts, matched.references, protocol, database)
    settings = {**scores.settings, **settings, "wordnet": None if wordnet is None else str(wordnet)}
    result = Evaluation(
        scores=scores.with_intervals(resamples, seed),
        settings={**settings, **bootstrap_settings(resamples, seed)},
        not_computed={} if database else dict.fromkeys(WUPS_NAMES, "needs a WordNet folder (--wordnet)"),
        notes=matched.notes + (theirs.notes if theirs else []) + _notes(matched, scores),
        items=_items(matched, scores.per_question),
    )
    if theirs is not None:
        others = compare_answers(theirs.texts, theirs.references, protocol, database)
        result.comparison = scores.less(others, resamples, seed)
        result.settings["compared_with"] = str(compare)
    return result


def _items(matched: Matched[Example], per_question: Mapping[str, Floats]) -> Iterator[dict[str, Any]]:
    """Each question with its answer and its scores in percent."""
    columns = {name: values.tolist() for name, values in per_question.items()}
    for place, (id, example) in enumerate(matched.references.items()):
        about = {"question_id": id, "image_id": example.image_id, "question": example.question}
        scores = {name: values[place] for name, values in columns.items()}
        yield {**about, "answer": matched.predictions[id].text, **scores}


def _has_answers(questions: Mapping[Id, Example], references: str | Path, official: str | Path | None) -> bool:
    """Whether all questions have answers; False if none has and the official file was written.

    Raises:
        UserError: otherwise.
    """
    unanswered = [id for id, example in questions.items() if not example.answers]
    if len(unanswered) == len(questions) and official is not None:
        return False
    if unanswered:
        raise UserError(
            f"{references}: {len(unanswered)} of {len(questions)} questions have no answers, the first is "
            f"{unanswered[0]!r} (--official writes the file for the challenge server, without scores)"
        )
    return True


def _notes(matched: Matched[Example], scores: AnswerScores) -> list[str]:
    single = "of a question with a single annotator the accuracy is whether the two answers are equal"
    notes, texts = [single] * (scores.settings["annotators"]["least"] == 1), matched.texts
    return [*notes, *scores.notes, *note_markup(texts), *note_protocol(texts, matched.references, scores)]


def score_answers(
    predictions: Mapping[Id, str],
    examples: Mapping[Id, Example],
    protocol: str = DEFAULT_PROTOCOL,
    wordnet: WordNet | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """The contents of a metrics.json: `{"scores": {...}, "settings": {...}, "notes": [...]}`, see `compare_answers`,
    `AnswerScores.with_intervals` and `note_protocol`."""
    scores = compare_answers(predictions, examples, protocol, wordnet)
    return answer_results(scores, predictions, examples, resamples, seed)


def answer_results(
    scores: AnswerScores,
    predictions: Mapping[Id, str],
    examples: Mapping[Id, Example],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """As `score_answers`, of answers whose scores are computed."""
    return {
        "scores": scores.with_intervals(resamples, seed),
        "settings": {**scores.settings, **bootstrap_settings(resamples, seed)},
        "notes": [*scores.notes, *note_protocol(predictions, examples, scores)],
    }


def note_protocol(predictions: Mapping[Id, str], examples: Mapping[Id, Example], scores: AnswerScores) -> list[str]:
    """A note where normalising both sides would change the accuracy much, which its protocol does not do."""
    protocol, overall = scores.settings["protocol"], scores.corpus["overall",]
    reached = float(accuracies(predictions, examples, "normalized").mean())
    if abs(reached - overall) < _MUCH:
        return []
    unanimous = sum(len(set(example.answers)) == 1 for example in examples.values())
    return [
        f"overall is {overall:.2f}, and under --protocol normalized {reached:.2f}: it normalises both sides also "
        f"where all annotators wrote the same, as of {unanimous} of these {len(examples)} questions, which {protocol} "
        "does not (red. is not red)"
    ]

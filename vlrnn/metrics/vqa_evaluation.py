"""Files in, everything about the answers out: what `vlrnn score vqa` does."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlrnn.data.formats.answers import match_answers, read_questions, write_answers
from vlrnn.data.formats.results import note_markup
from vlrnn.data.matching import GO_ON, Matched, Missing, in_common
from vlrnn.data.records import Example, Id
from vlrnn.errors import UserError
from vlrnn.files import replacing, write_json
from vlrnn.metrics.caption_evaluation import decoding
from vlrnn.metrics.statistics import Floats
from vlrnn.metrics.vqa import WUPS_NAMES, AnswerScores, accuracies, compare_answers
from vlrnn.metrics.wups import WordNet
from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL

_MUCH = 1.0
"""Percentage points: the least difference of another protocol that gives a note."""


@dataclass
class AnswerEvaluation:
    """The result of scoring a file of answers. `scores` and `comparison` are as `AnswerScores.with_intervals` gives
    them; `not_computed` name -> why; `notes` what was put right about the ids; `matched` the questions and answers, and
    `per_question` the scores of each."""

    scores: dict[str, Any]
    settings: dict[str, Any]
    not_computed: dict[str, str]
    notes: list[str]
    matched: Matched[Example] = field(repr=False)
    per_question: Mapping[str, Floats] = field(repr=False)
    comparison: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write all but the single questions as JSON."""
        value: dict[str, Any] = {"scores": self.scores, "settings": self.settings}
        value |= {"not_computed": self.not_computed, "notes": self.notes}
        if self.comparison:
            value["comparison"] = self.comparison
        write_json(path, value)

    def write_per_question(self, path: Path) -> None:
        """Write a JSON line for each question: its id, its answer and its scores in percent."""
        columns = {name: values.tolist() for name, values in self.per_question.items()}
        with replacing(path) as file:
            for place, (id, example) in enumerate(self.matched.references.items()):
                line = {"question_id": id, "image_id": example.image_id, "question": example.question}
                line["answer"] = self.matched.predictions[id].text
                line |= {name: values[place] for name, values in columns.items()}
                file.write(json.dumps(line) + "\n")


def evaluate_answers(
    references: str | Path,
    predictions: str | Path,
    other: str | Path | None = None,
    *,
    questions: str | Path | None = None,
    missing: Missing = "error",
    protocol: str = DEFAULT_PROTOCOL,
    wordnet: str | Path | None = None,
    official: str | Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> AnswerEvaluation:
    """Score a file of answers.

    Args:
        references, predictions: the files, of any form that `vlrnn.data.formats` reads.
        other: predictions of another system, to be compared in pairs on the same questions.
        questions: the official questions that go with official annotations.
        missing: what becomes of ids that do not match, see `vlrnn.data.matching.match`.
        protocol: a name of `vlrnn.text.vqa_normalization.PROTOCOLS`.
        wordnet: the folder of a WordNet database, for WUPS.
        official: where to write the predictions as the challenge server takes them. With it the references need no
            answers, as those of a test split have none; nothing is scored then.
        resamples, seed: of the bootstrap.

    Raises:
        UserError: a file is wrong, or ids do not match.
    """
    database = WordNet(wordnet) if wordnet is not None else None
    question_set = read_questions(references, questions)
    matched = match_answers(predictions, question_set, missing, GO_ON)
    if official is not None:
        write_answers(official, matched.predictions)
        matched.notes.append(f"{official}: {len(matched.predictions)} answers for the challenge server")
    settings = {
        "references": str(references),
        "questions": None if questions is None else str(questions),
        "predictions": str(predictions),
        "missing": missing,
        "ids": matched.counts,
        "matched_by": matched.rules,
        "decoding": decoding(matched.predictions.values()),
    }
    unanswered = [id for id, example in question_set.items() if not example.answers]
    if len(unanswered) == len(question_set) and official is not None:
        return AnswerEvaluation({}, settings, {"overall": f"{references} holds no answers"}, matched.notes, matched, {})
    if unanswered:
        raise UserError(
            f"{references}: {len(unanswered)} of {len(question_set)} questions have no answers, the first is "
            f"{unanswered[0]!r} (--official writes the file for the challenge server, without scores)"
        )

    theirs = None
    if other is not None:
        theirs = match_answers(other, question_set, missing, GO_ON)
        matched, theirs = in_common(matched, theirs, "questions that both systems have answers to")
    scores = compare_answers(_texts(matched), matched.references, protocol, database)
    notes = matched.notes + (theirs.notes if theirs else [])
    if scores.settings["annotators"]["least"] == 1:
        notes.append("of a question with a single annotator the accuracy is whether the two answers are equal")
    notes += [*scores.notes, *note_markup(_texts(matched))]
    notes += note_protocol(_texts(matched), matched.references, scores)
    result = AnswerEvaluation(
        scores=scores.with_intervals(resamples, seed),
        settings={
            **scores.settings,
            **settings,
            "wordnet": None if wordnet is None else str(wordnet),
            "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95},
        },
        not_computed={} if database else dict.fromkeys(WUPS_NAMES, "needs a WordNet folder (--wordnet)"),
        notes=notes,
        matched=matched,
        per_question=scores.per_question,
    )
    if theirs is not None:
        others = compare_answers(_texts(theirs), theirs.references, protocol, database)
        result.comparison = scores.less(others, resamples, seed)
        result.settings["compared_with"] = str(other)
    return result


def _texts(matched: Matched[Example]) -> dict[Id, str]:
    return {id: prediction.text for id, prediction in matched.predictions.items()}


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
    bootstrap = {"resamples": resamples, "seed": seed, "level": 0.95}
    return {
        "scores": scores.with_intervals(resamples, seed),
        "settings": {**scores.settings, "bootstrap": bootstrap},
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

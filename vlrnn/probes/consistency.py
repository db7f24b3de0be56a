"""Consistency of the answers of a model to related questions, and with those of another model."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlrnn.data.formats.answers import match_answers, read_answered
from vlrnn.data.matching import name_some
from vlrnn.data.records import Example, Id
from vlrnn.errors import UserError
from vlrnn.files import read_json
from vlrnn.metrics.statistics import Resampler, bootstrap_settings, ratios
from vlrnn.metrics.vqa import compare_answers
from vlrnn.probes.agreement import LARGEST, Answered, Compared, agreement, complementary, keeps, pairwise, paraphrases
from vlrnn.probes.finding import TELLING, Finding, path_settings
from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL, canonical_answer

OPPOSITE, SAME, PAIR = "opposite_of", "same_as", "pair"
"""The `attributes` of an example that have the id of another question."""


def probe_consistency(
    predictions: str | Path,
    references: str | Path,
    *,
    other: str | Path | None = None,
    groups: str | Path | None = None,
    protocol: str = DEFAULT_PROTOCOL,
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """Are answers consistent over paraphrases, opposites and pairs, and with another model's?

    Args:
        predictions: answers: predictions.jsonl, or VQA results.
        references: the questions: prepared .jsonl, or official VQA annotations. `attributes` of prepared ones may have
            `opposite_of`, `same_as` and `pair`, the id of another question in the file.
        other: another model's answers to the same questions, for agreement.
        groups: paraphrases: a JSON list of lists of question ids.
        protocol: of the accuracy.
        resamples, seed: of the bootstrap over images.

    Raises:
        UserError: a file is invalid, ids do not match, or no questions are related.
    """
    questions = read_answered(references)
    notes: list[str] = []
    answered = _answered(predictions, questions, protocol, notes)
    compared: dict[str, Compared] = {}
    disagreements: list[dict[str, Any]] = []
    if other is not None:
        theirs = _answered(other, questions, protocol, notes)
        compared["models"] = agreement(answered, theirs)
        disagreements = _disagreements(answered, theirs)
    contradictions = _compare_related(answered, questions, groups, compared, notes)
    if not compared:
        raise UserError(
            f"{references}: no related questions: give --other, --groups, or questions whose attributes have "
            f"{OPPOSITE!r}, {SAME!r} or {PAIR!r}"
        )
    scores = {name: ratios(each.parts, Resampler(each.images, resamples, seed)) for name, each in compared.items()}
    chance = {name: {part: {"value": value} for part, value in each.chance.items()} for name, each in compared.items()}
    return Finding(
        scores=scores,
        settings={
            **path_settings(predictions=predictions, references=references, other=other, groups=groups),
            "protocol": protocol,
            "n": len(questions),
            **bootstrap_settings(resamples, seed),
        },
        baselines={"chance": chance},
        cases=[*contradictions, *disagreements][:TELLING],
        not_computed=_not_computed(scores),
        notes=notes,
    )


def _compare_related(
    answered: Answered,
    questions: Mapping[Id, Example],
    groups: str | Path | None,
    compared: dict[str, Compared],
    notes: list[str],
) -> list[dict[str, Any]]:
    """Add the comparisons of related questions to `compared`; returns the cases of contradictions."""
    contradicting: list[tuple[Id, Id]] = []
    if groups is not None:
        paraphrase_groups = _read_groups(groups, questions)
        compared["paraphrases"] = paraphrases(answered, paraphrase_groups)
        contradicting += _first_differing(answered, paraphrase_groups)
    for name, attribute, same in (("opposites", OPPOSITE, False), ("same", SAME, True)):
        if pairs := _pairs(questions, attribute, notes):
            compared[name] = pairwise(answered, pairs, same)
            contradicting += (pair for pair in pairs if not keeps(answered, *pair, same=same))
    if pairs := _pairs(questions, PAIR, notes):
        compared["complementary_pairs"] = complementary(answered, pairs)
        contradicting += ((a, b) for a, b in pairs if answered.answers[a] == answered.answers[b])
    return _contradictions(answered, contradicting)


def _not_computed(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    may_lack = {f"consensus_{k}": ("paraphrases", "no group has as many questions") for k in range(1, LARGEST + 1)}
    may_lack["kappa"] = "models", "both always give the same answer to each type, so that they agree"
    return {
        f"{group}: {name}": why
        for name, (group, why) in may_lack.items()
        if group in scores and name not in scores[group]
    }


def _answered(path: str | Path, questions: Mapping[Id, Example], protocol: str, notes: list[str]) -> Answered:
    matched = match_answers(path, questions)
    notes += matched.notes
    texts = {id: each.text for id, each in matched.predictions.items()}
    scored = compare_answers(texts, questions, protocol)
    right = dict(zip(scored.ids, (scored.per_question["accuracy"] > 0).tolist(), strict=True))
    return Answered(questions, {id: canonical_answer(text) for id, text in texts.items()}, right)


def _read_groups(path: str | Path, questions: Mapping[Id, Example]) -> list[list[Id]]:
    value = read_json(path)
    if not isinstance(value, list) or not all(isinstance(each, list) and len(each) > 1 for each in value):
        raise UserError(f"{path}: expected a list of lists of question ids, two or more in each")
    if not value:
        raise UserError(f"{path}: holds no groups")
    ids = [id for group in value for id in group]
    unknown = [id for id in ids if not isinstance(id, (int, str)) or isinstance(id, bool) or id not in questions]
    if unknown:
        raise UserError(f"{path}: {len(unknown)} ids are not of a question: {name_some(unknown)}")
    doubled = [id for id, count in Counter(ids).items() if count > 1]
    if doubled:
        raise UserError(f"{path}: {len(doubled)} questions occur twice: {name_some(doubled)}")
    return value


def _pairs(questions: Mapping[Id, Example], attribute: str, notes: list[str]) -> list[tuple[Id, Id]]:
    """The pairs of a question and the related one in the file; a pair that refers to each other is listed once. Missing
    related questions add a note."""
    named: dict[Id, Id] = {}
    absent: list[Id] = []
    for id, example in questions.items():
        other = (example.attributes or {}).get(attribute)
        if other is None:
            continue
        if not isinstance(other, (int, str)) or isinstance(other, bool) or other not in questions or other == id:
            absent.append(id)
        elif named.get(other) != id:
            named[id] = other
    if absent:
        notes.append(f"{len(absent)} questions have a {attribute!r} that is not in the file: {name_some(absent)}")
    return list(named.items())


def _first_differing(answered: Answered, groups: Iterable[Sequence[Id]]) -> Iterator[tuple[Id, Id]]:
    """Of each group of paraphrases, the first question and the first one with a different answer."""
    for first, *others in groups:
        other = next((id for id in others if answered.answers[id] != answered.answers[first]), None)
        if other is not None:
            yield first, other


def _contradictions(answered: Answered, pairs: Iterable[tuple[Id, Id]]) -> list[dict[str, Any]]:
    return [
        {
            "id": one,
            "question": answered.examples[one].question,
            "said": answered.answers[one],
            "other": other,
            "asked there": answered.examples[other].question,
            "said there": answered.answers[other],
        }
        for one, other in pairs
    ]


def _disagreements(one: Answered, other: Answered) -> list[dict[str, Any]]:
    """Questions that the other model answers correctly and this one does not."""
    return [
        {"id": id, "question": example.question, "said": one.answers[id], "the other": other.answers[id]}
        for id, example in one.examples.items()
        if other.right[id] and not one.right[id]
    ]

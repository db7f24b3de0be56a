"""Consistency of the answers of a model to related questions, and with those of another model; with the agreement
expected by chance.

Sources: Cohen 1960 for kappa; Shah, Chen, Rohrbach, Parikh, Cycle-consistency for robust visual question answering,
CVPR 2019, section 3, for the consensus score; Goyal et al., Making the V in VQA matter, CVPR 2017, for the pairs.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, combinations
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlrnn.data.formats.answers import match_answers, read_answered
from vlrnn.data.matching import name_some
from vlrnn.data.records import Example, Id
from vlrnn.errors import UserError
from vlrnn.files import read_json
from vlrnn.metrics.statistics import Floats, MeansByImage, Ratio, bootstrap_settings
from vlrnn.metrics.vqa import compare_answers
from vlrnn.probes.finding import TELLING, Finding, path_settings
from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL, canonical_answer

OPPOSITE, SAME, PAIR = "opposite_of", "same_as", "pair"
"""The `attributes` of an example that have the id of another question."""

LARGEST = 4
"""Largest k of the consensus score."""

RIGHT = ("both_wrong", "one_right", "both_right")
"""Names by the number of correct answers of a pair."""

Pairs = Sequence[tuple[Id, Id]]


class Answered(NamedTuple):
    """Questions, the answer to each, and whether it is correct: accuracy above 0, as in Shah et al."""

    examples: Mapping[Id, Example]
    answers: Mapping[Id, str]
    right: Mapping[Id, bool]

    def images(self, ids: Iterable[Id]) -> list[Id]:
        """The image of each question."""
        return [self.examples[id].image_id for id in ids]

    def same(self, one: Id, other: Id) -> bool:
        """Whether two questions have equal answers."""
        return self.answers[one] == self.answers[other]

    def keeps(self, one: Id, other: Id, same: bool) -> bool:
        """Whether yes and no are answered as required: equal, or opposite."""
        return {self.answers[one], self.answers[other]} <= {"yes", "no"} and self.same(one, other) == same

    def by_type(self, ids: Iterable[Id]) -> dict[str, Counter[str]]:
        """Question type -> counts of the answers given."""
        found: dict[str, Counter[str]] = {}
        for id in ids:
            found.setdefault(self.examples[id].question_type or "", Counter())[self.answers[id]] += 1
        return found


class Compared(NamedTuple):
    """Ratios over items, the values expected by `chance` for some of them, and the image of each item."""

    parts: dict[str, Ratio]
    chance: dict[str, float]
    images: list[Id]


def _ratios(**columns: Sequence[float] | Floats) -> dict[str, Ratio]:
    return {name: Ratio(np.array(each), np.ones(len(each))) for name, each in columns.items()}


def _hits(hits: Sequence[int]) -> dict[str, Ratio]:
    """The rates at which both, one or none is correct, from the number of correct answers of each pair."""
    return _ratios(**{name: [each == number for each in hits] for number, name in enumerate(RIGHT)})


def agreement(one: Answered, other: Answered) -> Compared:
    """Of two models: the rate of equal answers, kappa, and the rates at which both, one or none is correct."""
    ids = list(one.answers)
    same = np.array([one.answers[id] == other.answers[id] for id in ids])
    of_one, of_other = one.by_type(ids), other.by_type(ids)
    expected = sum(
        each[answer] * of_other[kind][answer] / each.total() for kind, each in of_one.items() for answer in each
    ) / len(ids)
    parts = _ratios(agreement=same) | _hits([one.right[id] + other.right[id] for id in ids])
    if expected < 1:
        parts["kappa"] = Ratio(same - expected, np.full(len(ids), 1 - expected), len(ids))
    chance = {"agreement": expected, **_right_by_chance(one, other, ids), "kappa": 0.0}
    return Compared(parts, chance, one.images(ids))


def _right_by_chance(one: Answered, other: Answered, ids: Iterable[Id]) -> dict[str, float]:
    """The rates at which both, one or none would be correct if the two were independent within each question type."""
    kinds: dict[str, list[Id]] = {}
    for id in ids:
        kinds.setdefault(one.examples[id].question_type or "", []).append(id)
    sums = np.zeros(3)
    for each in kinds.values():
        p, q = (sum(answers.right[id] for id in each) / len(each) for answers in (one, other))
        sums += len(each) * np.array([(1 - p) * (1 - q), p * (1 - q) + q * (1 - p), p * q])
    return dict(zip(RIGHT, (sums / sum(map(len, kinds.values()))).tolist(), strict=True))


def paraphrases(answered: Answered, groups: Sequence[Sequence[Id]]) -> Compared:
    """Of groups: the rate of pairs with equal answers, and of subsets of k questions that are all correct."""
    agree = [sum(answered.same(*pair) for pair in combinations(group, 2)) for group in groups]
    parts = {"agreement": Ratio(np.array(agree), np.array([comb(len(group), 2) for group in groups]))}
    right = [sum(answered.right[id] for id in group) for group in groups]
    for k in range(1, LARGEST + 1):
        large = [len(each) >= k for each in groups]
        shares = [comb(hits, k) / max(1, comb(len(each), k)) for hits, each in zip(right, groups, strict=True)]
        parts[f"consensus_{k}"] = Ratio(np.array(shares), np.array(large))
    ids = [*chain.from_iterable(groups)]
    by_chance = {"agreement": _same_by_chance(answered, ids)}
    by_chance |= {f"consensus_{k}": (sum(right) / len(ids)) ** k for k in range(1, LARGEST + 1)}
    return Compared(parts, by_chance, answered.images(group[0] for group in groups))


def _same_by_chance(answered: Answered, ids: Iterable[Id]) -> float:
    """The probability that two answers drawn from those given to a question type are equal."""
    counts = answered.by_type(ids).values()
    total = sum(each.total() for each in counts)
    return sum((count / each.total()) * count for each in counts for count in each.values()) / total


def pairwise(answered: Answered, pairs: Pairs, same: bool) -> Compared:
    """Of pairs of yes/no questions that require equal, or opposite, answers: the rate of pairs that satisfy this, and
    of those that are also correct."""
    parts = _ratios(
        consistent=[answered.keeps(*pair, same=same) for pair in pairs],
        both_right=[answered.right[one] and answered.right[other] for one, other in pairs],
    )
    ids = [*chain.from_iterable(pairs)]
    answers = [answered.answers[id] for id in ids]
    yes, no = answers.count("yes") / len(answers), answers.count("no") / len(answers)
    expected = yes**2 + no**2 if same else 2 * yes * no
    both_right = _right_by_chance(answered, answered, ids)["both_right"]
    return Compared(parts, {"consistent": expected, "both_right": both_right}, answered.images(one for one, _ in pairs))


def complementary(answered: Answered, pairs: Pairs) -> Compared:
    """Of pairs of one question about two similar images with different answers: the rates at which both, one or none is
    correct, and the rate of equal answers."""
    parts = _hits([answered.right[one] + answered.right[other] for one, other in pairs])
    parts |= _ratios(same_answer=[answered.same(*pair) for pair in pairs])
    ids = [*chain.from_iterable(pairs)]
    by_chance = _right_by_chance(answered, answered, ids) | {"same_answer": _same_by_chance(answered, ids)}
    return Compared(parts, by_chance, answered.images(one for one, _ in pairs))


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
        disagreements = [  # questions that the other model answers correctly and this one does not
            {"id": id, "question": each.question, "said": answered.answers[id], "the other": theirs.answers[id]}
            for id, each in questions.items()
            if theirs.right[id] and not answered.right[id]
        ]
    contradictions = _compare_related(answered, groups, compared, notes)
    if not compared:
        raise UserError(
            f"{references}: no related questions: give --other, --groups, or questions whose attributes have "
            f"{OPPOSITE!r}, {SAME!r} or {PAIR!r}"
        )
    scores = {name: MeansByImage(each.images, resamples, seed).ratios(each.parts) for name, each in compared.items()}
    chance = {name: {part: {"value": value} for part, value in each.chance.items()} for name, each in compared.items()}
    paths = path_settings(predictions=predictions, references=references, other=other, groups=groups)
    return Finding(
        scores=scores,
        settings={**paths, "protocol": protocol, "n": len(questions), **bootstrap_settings(resamples, seed)},
        baselines={"chance": chance},
        cases=[*contradictions, *disagreements][:TELLING],
        not_computed=_not_computed(scores),
        notes=notes,
    )


def _compare_related(
    answered: Answered, groups: str | Path | None, compared: dict[str, Compared], notes: list[str]
) -> list[dict[str, Any]]:
    """Add the comparisons of related questions to `compared`; returns the cases of contradictions."""
    questions = answered.examples
    contradicting: list[tuple[Id, Id]] = []
    if groups is not None:
        paraphrase_groups = _read_groups(groups, questions)
        compared["paraphrases"] = paraphrases(answered, paraphrase_groups)
        for first, *others in paraphrase_groups:
            contradicting += [(first, id) for id in others if not answered.same(first, id)][:1]
    for name, attribute, same in (("opposites", OPPOSITE, False), ("same", SAME, True)):
        if pairs := _pairs(questions, attribute, notes):
            compared[name] = pairwise(answered, pairs, same)
            contradicting += (pair for pair in pairs if not answered.keeps(*pair, same=same))
    if pairs := _pairs(questions, PAIR, notes):
        compared["complementary_pairs"] = complementary(answered, pairs)
        contradicting += (pair for pair in pairs if answered.same(*pair))
    return [
        {
            "id": one,
            "question": answered.examples[one].question,
            "said": answered.answers[one],
            "other": other,
            "asked there": answered.examples[other].question,
            "said there": answered.answers[other],
        }
        for one, other in contradicting
    ]


def _not_computed(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    may_lack = {("paraphrases", f"consensus_{k}"): "no group has as many questions" for k in range(1, LARGEST + 1)}
    may_lack["models", "kappa"] = "both always give the same answer to each type, so that they agree"
    return {
        f"{group}: {name}": why
        for (group, name), why in may_lack.items()
        if group in scores and name not in scores[group]
    }


def _answered(path: str | Path, questions: Mapping[Id, Example], protocol: str, notes: list[str]) -> Answered:
    matched = match_answers(path, questions)
    notes += matched.notes
    scored = compare_answers(matched.texts, questions, protocol)
    right = dict(zip(scored.ids, (scored.per_question["accuracy"] > 0).tolist(), strict=True))
    return Answered(questions, {id: canonical_answer(text) for id, text in matched.texts.items()}, right)


def _read_groups(path: str | Path, questions: Mapping[Id, Example]) -> list[list[Id]]:
    value = read_json(path)
    if not isinstance(value, list) or not all(isinstance(each, list) and len(each) > 1 for each in value):
        raise UserError(f"{path}: expected a list of lists of question ids, two or more in each")
    if not value:
        raise UserError(f"{path}: holds no groups")
    ids = [id for group in value for id in group]
    if unknown := [id for id in ids if not _is_id(id) or id not in questions]:
        raise UserError(f"{path}: {len(unknown)} ids are not of a question: {name_some(unknown)}")
    if doubled := [id for id, count in Counter(ids).items() if count > 1]:
        raise UserError(f"{path}: {len(doubled)} questions occur twice: {name_some(doubled)}")
    return value


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _pairs(questions: Mapping[Id, Example], attribute: str, notes: list[str]) -> list[tuple[Id, Id]]:
    """The pairs of a question and the related one in the file; a pair that refers to each other is listed once. Missing
    related questions add a note."""
    named: dict[Id, Id] = {}
    absent: list[Id] = []
    for id, example in questions.items():
        other = (example.attributes or {}).get(attribute)
        if other is None:
            continue
        if not _is_id(other) or other not in questions or other == id:
            absent.append(id)
        elif named.get(other) != id:
            named[id] = other
    if absent:
        notes.append(f"{len(absent)} questions have a {attribute!r} that is not in the file: {name_some(absent)}")
    return list(named.items())

"""Agreement of answers: of two models, over paraphrases, over pairs of questions; with the agreement expected by
chance.

Sources: Cohen 1960 for kappa; Shah, Chen, Rohrbach, Parikh, Cycle-consistency for robust visual question answering,
CVPR 2019, section 3, for the consensus score; Goyal et al., Making the V in VQA matter, CVPR 2017, for the pairs.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np

from vlrnn.data.records import Example, Id
from vlrnn.metrics.statistics import Ratio

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


class Compared(NamedTuple):
    """A group of scores: ratios over `images`, and the values expected by `chance` for some of them."""

    parts: dict[str, Ratio]
    chance: dict[str, float]
    images: int


def _over_images(answered: Answered, ids: Sequence[Id]) -> tuple[Callable[[Iterable[float]], Any], int]:
    """A function that sums values of questions by image, and the number of images."""
    numbers: dict[Id, int] = {}
    image = [numbers.setdefault(answered.examples[id].image_id, len(numbers)) for id in ids]
    return lambda values: np.bincount(image, list(values), len(numbers)), len(numbers)


def _by_type(answered: Answered, ids: Iterable[Id]) -> dict[str, Counter[str]]:
    """Question type -> counts of the answers given."""
    found: dict[str, Counter[str]] = {}
    for id in ids:
        found.setdefault(answered.examples[id].question_type or "", Counter())[answered.answers[id]] += 1
    return found


def agreement(one: Answered, other: Answered) -> Compared:
    """Of two models: the rate of equal answers, kappa, and the rates at which both, one or none is correct."""
    ids = list(one.answers)
    total, images = _over_images(one, ids)
    count = total(1.0 for _ in ids)
    same = total(one.answers[id] == other.answers[id] for id in ids)
    of_one, of_other = _by_type(one, ids), _by_type(other, ids)
    expected = sum(
        each[answer] * of_other[kind][answer] / each.total() for kind, each in of_one.items() for answer in each
    ) / len(ids)
    hits = [one.right[id] + other.right[id] for id in ids]
    parts = {"agreement": Ratio(same, count)} | {
        name: Ratio(total(each == number for each in hits), count) for number, name in enumerate(RIGHT)
    }
    if expected < 1:
        parts["kappa"] = Ratio(same - expected * count, (1 - expected) * count, len(ids))
    return Compared(parts, {"agreement": expected, **_right_by_chance(one, other, ids), "kappa": 0.0}, images)


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
    total, images = _over_images(answered, [group[0] for group in groups])
    agree = [sum(answered.answers[a] == answered.answers[b] for a, b in combinations(group, 2)) for group in groups]
    parts = {"agreement": Ratio(total(agree), total(comb(len(group), 2) for group in groups))}
    right = [sum(answered.right[id] for id in group) for group in groups]
    for k in range(1, LARGEST + 1):
        large = [
            (comb(hits, k) / comb(len(each), k), 1) if len(each) >= k else (0, 0)
            for hits, each in zip(right, groups, strict=True)
        ]
        parts[f"consensus_{k}"] = Ratio(
            total(share for share, _ in large), total(large_enough for _, large_enough in large)
        )
    ids = [*chain.from_iterable(groups)]
    share = sum(right) / len(ids)
    by_chance = {f"consensus_{k}": share**k for k in range(1, LARGEST + 1)}
    return Compared(parts, {"agreement": _by_chance(_by_type(answered, ids)), **by_chance}, images)


def _by_chance(counts: Mapping[str, Counter[str]]) -> float:
    """The probability that two answers drawn from those given to a question type are equal."""
    total = sum(each.total() for each in counts.values())
    return sum((count / each.total()) * count for each in counts.values() for count in each.values()) / total


def pairwise(answered: Answered, pairs: Pairs, same: bool) -> Compared:
    """Of pairs of yes/no questions that require equal, or opposite, answers: the rate of pairs that satisfy this, and
    of those that are also correct."""
    total, images = _over_images(answered, [one for one, _ in pairs])
    count = total(1.0 for _ in pairs)
    consistent = [keeps(answered, one, other, same) for one, other in pairs]
    right = [answered.right[one] and answered.right[other] for one, other in pairs]
    ids = [*chain.from_iterable(pairs)]
    answers = [answered.answers[id] for id in ids]
    yes, no = answers.count("yes") / len(answers), answers.count("no") / len(answers)
    expected = yes**2 + no**2 if same else 2 * yes * no
    return Compared(
        {"consistent": Ratio(total(consistent), count), "both_right": Ratio(total(right), count)},
        {"consistent": expected, "both_right": _right_by_chance(answered, answered, ids)["both_right"]},
        images,
    )


def keeps(answered: Answered, one: Id, other: Id, same: bool) -> bool:
    """Whether yes and no are answered as required: equal, or opposite."""
    answers = {answered.answers[one], answered.answers[other]}
    return answers <= {"yes", "no"} and (len(answers) == 1) == same


def complementary(answered: Answered, pairs: Pairs) -> Compared:
    """Of pairs of one question about two similar images with different answers: the rates at which both, one or none is
    correct, and the rate of equal answers."""
    total, images = _over_images(answered, [one for one, _ in pairs])
    count = total(1.0 for _ in pairs)
    hits = [answered.right[one] + answered.right[other] for one, other in pairs]
    same = [answered.answers[one] == answered.answers[other] for one, other in pairs]
    parts = {name: Ratio(total(each == number for each in hits), count) for number, name in enumerate(RIGHT)}
    parts["same_answer"] = Ratio(total(same), count)
    ids = [*chain.from_iterable(pairs)]
    by_chance = _right_by_chance(answered, answered, ids)
    return Compared(parts, by_chance | {"same_answer": _by_chance(_by_type(answered, ids))}, images)

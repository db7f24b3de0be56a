"""Does a model contradict itself, or another? Agreement of two models; of paraphrases; of questions whose answers must
be opposite, or the same; and of complementary pairs.

Sources: Cohen 1960 for kappa; Shah, Chen, Rohrbach, Parikh, Cycle-consistency for robust visual question answering,
CVPR 2019, section 3, for the consensus score; Goyal et al., Making the V in VQA matter, CVPR 2017, for the pairs.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlrnn.errors import UserError
from vlrnn.files import read_json
from vlrnn.interchange import match, read_answers, read_questions
from vlrnn.interchange.matching import name_some
from vlrnn.metrics.bootstrap import Ratio, Resampler, ratios
from vlrnn.metrics.vqa import compare_answers
from vlrnn.probes.finding import TELLING, Finding
from vlrnn.records import Example, Id
from vlrnn.text.answers import DEFAULT_PROTOCOL, canonical

Scores = dict[str, dict[str, float | int]]

LARGEST = 4
"""The consensus score is told of up to so many paraphrases at once."""

OPPOSITE, SAME, PAIR = "opposite_of", "same_as", "pair"
"""The `attributes` of an example that name another question's id."""


class Answered(NamedTuple):
    """Questions, what was said to each, and how right that is, in 0..1."""

    examples: Mapping[Id, Example]
    said: Mapping[Id, str]
    right: Mapping[Id, float]


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
    """Consistency of answers, as far as the files say what belongs together.

    Args:
        predictions: answers.
        references: the questions; `attributes` of prepared ones may have `opposite_of`, `same_as` and `pair`, the id of
            another question in the file.
        other: another model's answers to the same questions, for agreement.
        groups: paraphrases, as JSON: a list of lists of question ids.
        protocol: of the accuracy.
        resamples, seed: of the bootstrap over images.

    Raises:
        UserError: a file is wrong, ids do not match, or the files put nothing together.
    """
    asked = read_questions(references)
    answered = _answered(predictions, asked, protocol)
    scores: dict[str, Scores] = {}
    chance: dict[str, Scores] = {}
    cases: list[dict[str, Any]] = []

    def tell(name: str, parts: Mapping[str, Ratio], by_chance: Mapping[str, float], images: int) -> None:
        scores[name] = ratios(parts, Resampler(images, resamples, seed))
        chance[name] = {each: {"value": value} for each, value in by_chance.items()}

    if other is not None:
        theirs = _answered(other, asked, protocol)
        tell("models", *_agreement(answered, theirs))
        cases += _disagreements(answered, theirs)
    if groups is not None:
        tell("paraphrases", *_paraphrases(answered, _read_groups(groups, asked)))
    for name, attribute, alike in (("opposites", OPPOSITE, False), ("same", SAME, True)):
        if pairs := _pairs(asked, attribute):
            tell(name, *_pairwise(answered, pairs, alike))
            cases += _contradictions(answered, pairs, alike)
    if pairs := _pairs(asked, PAIR):
        tell("complementary_pairs", *_complementary(answered, pairs))
    if not scores:
        raise UserError(
            f"{references}: nothing belongs together: give --other, --groups, or questions whose attributes have "
            f"{OPPOSITE!r}, {SAME!r} or {PAIR!r}"
        )
    return Finding(
        scores=scores,
        settings={
            "predictions": str(predictions),
            "references": str(references),
            "other": None if other is None else str(other),
            "groups": None if groups is None else str(groups),
            "protocol": protocol,
            "n": len(asked),
            "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95},
        },
        baselines={"chance": chance},
        cases=cases[:TELLING],
        not_computed={
            f"paraphrases: consensus_{k}": "no group has so many questions"
            for k in range(1, LARGEST + 1)
            if "paraphrases" in scores and f"consensus_{k}" not in scores["paraphrases"]
        },
    )


def _answered(path: str | Path, asked: Mapping[Id, Example], protocol: str) -> Answered:
    matched = match(read_answers(path), asked, "error", str(path), by="id")
    texts = {id: each.text for id, each in matched.predictions.items()}
    scored = compare_answers(texts, asked, protocol)
    right = dict(zip(scored.ids, (scored.per_question["accuracy"] / 100).tolist(), strict=True))
    return Answered(asked, {id: canonical(text) for id, text in texts.items()}, right)


def _over_images(answered: Answered, ids: Sequence[Id]) -> tuple[Callable[[Iterable[float]], Any], int]:
    """How a value of each of some questions is summed by image, and how many images there are."""
    numbers: dict[Id, int] = {}
    image = [numbers.setdefault(answered.examples[id].image_id, len(numbers)) for id in ids]
    return lambda values: np.bincount(image, list(values), len(numbers)), len(numbers)


def _by_type(answered: Answered, ids: Iterable[Id]) -> dict[str, Counter[str]]:
    """Question type -> how often which answer was given."""
    found: dict[str, Counter[str]] = {}
    for id in ids:
        found.setdefault(answered.examples[id].question_type or "", Counter())[answered.said[id]] += 1
    return found


def _agreement(one: Answered, other: Answered) -> tuple[dict[str, Ratio], dict[str, float], int]:
    """Of two models: the share of same answers, kappa, and who is right."""
    ids = list(one.said)
    total, images = _over_images(one, ids)
    count = total(1.0 for _ in ids)
    same = total(one.said[id] == other.said[id] for id in ids)
    of_one, of_other = _by_type(one, ids), _by_type(other, ids)
    expected = sum(
        each[answer] * of_other[kind][answer] / each.total() for kind, each in of_one.items() for answer in each
    ) / len(ids)
    both = [(one.right[id] > 0, other.right[id] > 0) for id in ids]
    parts = {
        "agreement": Ratio(same, count),
        "both_right": Ratio(total(a and b for a, b in both), count),
        "one_right": Ratio(total(a != b for a, b in both), count),
        "both_wrong": Ratio(total(not a and not b for a, b in both), count),
    }
    if expected < 1:
        parts["kappa"] = Ratio(same - expected * count, (1 - expected) * count, len(ids))
    return parts, {"agreement": expected, "kappa": 0.0}, images


def _disagreements(one: Answered, other: Answered) -> list[dict[str, Any]]:
    """Where the other model is right, and this one is not."""
    found = [
        {"id": id, "question": example.question, "said": one.said[id], "the other": other.said[id]}
        for id, example in one.examples.items()
        if other.right[id] > 0 and not one.right[id]
    ]
    return found[:TELLING]


def _read_groups(path: str | Path, asked: Mapping[Id, Example]) -> list[list[Id]]:
    value = read_json(path)
    if not isinstance(value, list) or not all(isinstance(each, list) and len(each) > 1 for each in value):
        raise UserError(f"{path}: expected a list of lists of question ids, two or more in each")
    unknown = [id for each in value for id in each if id not in asked]
    if unknown or not value:
        raise UserError(
            f"{path}: {len(unknown)} ids are of no question: {name_some(unknown)}" if unknown else f"{path}: is empty"
        )
    return value


def _paraphrases(answered: Answered, groups: Sequence[Sequence[Id]]) -> tuple[dict[str, Ratio], dict[str, float], int]:
    """Of groups: the share of pairs with the same answer, and of subsets of k questions all of which are right."""
    total, images = _over_images(answered, [group[0] for group in groups])
    agree = [sum(answered.said[a] == answered.said[b] for a, b in combinations(group, 2)) for group in groups]
    parts = {"agreement": Ratio(total(agree), total(comb(len(group), 2) for group in groups))}
    right = [sum(answered.right[id] > 0 for id in group) for group in groups]
    for k in range(1, LARGEST + 1):
        large = [
            (comb(hits, k) / comb(len(each), k), 1) if len(each) >= k else (0, 0)
            for hits, each in zip(right, groups, strict=True)
        ]
        parts[f"consensus_{k}"] = Ratio(total(share for share, _ in large), total(there for _, there in large))
    return parts, {"agreement": _by_chance(_by_type(answered, [id for group in groups for id in group]))}, images


def _by_chance(counts: Mapping[str, Counter[str]]) -> float:
    """How often two answers to questions of a type would be the same, drawn from what is given to all of the type."""
    total = sum(each.total() for each in counts.values())
    return sum((count / each.total()) * count for each in counts.values() for count in each.values()) / total


def _pairs(asked: Mapping[Id, Example], attribute: str) -> list[tuple[Id, Id]]:
    """Each question that names another of the file, with that; once, where both name each other."""
    named: dict[Id, Id] = {}
    for id, example in asked.items():
        other = (example.attributes or {}).get(attribute)
        if isinstance(other, (int, str)) and other in asked and named.get(other) != id:
            named[id] = other
    return list(named.items())


def _pairwise(
    answered: Answered, pairs: Sequence[tuple[Id, Id]], alike: bool
) -> tuple[dict[str, Ratio], dict[str, float], int]:
    """Of pairs of yes/no questions that must have the same answer, or opposite ones: the share that has; and that is
    right besides."""
    total, images = _over_images(answered, [one for one, _ in pairs])
    count = total(1.0 for _ in pairs)
    kept = [_keeps(answered, one, other, alike) for one, other in pairs]
    right = [answered.right[one] > 0 and answered.right[other] > 0 for one, other in pairs]
    said = [answered.said[id] for pair in pairs for id in pair]
    yes, no = said.count("yes") / len(said), said.count("no") / len(said)
    expected = yes**2 + no**2 if alike else 2 * yes * no
    return (
        {"consistent": Ratio(total(kept), count), "both_right": Ratio(total(right), count)},
        {"consistent": expected},
        images,
    )


def _keeps(answered: Answered, one: Id, other: Id, alike: bool) -> bool:
    said = {answered.said[one], answered.said[other]}
    return said <= {"yes", "no"} and (len(said) == 1) == alike


def _contradictions(answered: Answered, pairs: Sequence[tuple[Id, Id]], alike: bool) -> list[dict[str, Any]]:
    return [
        {
            "id": one,
            "question": answered.examples[one].question,
            "said": answered.said[one],
            "and to": answered.examples[other].question,
            "said also": answered.said[other],
        }
        for one, other in pairs
        if not _keeps(answered, one, other, alike)
    ][:TELLING]


def _complementary(
    answered: Answered, pairs: Sequence[tuple[Id, Id]]
) -> tuple[dict[str, Ratio], dict[str, float], int]:
    """Of pairs of one question about two similar images, with different answers: who is right, and how often both get
    the same answer."""
    total, images = _over_images(answered, [one for one, _ in pairs])
    count = total(1.0 for _ in pairs)
    right = [(answered.right[one] > 0) + (answered.right[other] > 0) for one, other in pairs]
    same = [answered.said[one] == answered.said[other] for one, other in pairs]
    names = ("both_wrong", "one_right", "both_right")
    parts = {name: Ratio(total(each == number for each in right), count) for number, name in enumerate(names)}
    parts["same_answer"] = Ratio(total(same), count)
    return parts, {"same_answer": _by_chance(_by_type(answered, [id for pair in pairs for id in pair]))}, images

"""Answer priors: their shift from train to test for each question type, and the accuracy on frequent and rare answers.

Source of head and tail: Kervadec, Antipov, Baccouche, Wolf, Roses are red, violets are blue... but should VQA expect
them to? (GQA-OOD), CVPR 2021, section 3.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlrnn.data.formats.answers import match_answers, read_answered
from vlrnn.data.records import Example, Id
from vlrnn.data.splits import correct
from vlrnn.errors import UserError
from vlrnn.metrics.statistics import (
    Floats,
    Ratio,
    Resampler,
    Scores,
    bootstrap_settings,
    commonest,
    distance_interval,
    number_ids,
    ratios,
)
from vlrnn.metrics.vqa import compare_answers
from vlrnn.probes.finding import TELLING, Finding
from vlrnn.text.vocabulary import AnswerPrior
from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL, canonical_answer

Counts = Mapping[str, Counter[str]]
"""Question type -> counts of the correct answers."""


def _pair(example: Example) -> tuple[str, str]:
    """The question type, `""` if there is none, and the majority answer."""
    return example.question_type or "", correct(example)


def count_answers(examples: Iterable[Example]) -> Counts:
    """The counts of majority answers by question type (`""` if there is none)."""
    counts: dict[str, Counter[str]] = {}
    for kind, answer in map(_pair, examples):
        counts.setdefault(kind, Counter())[answer] += 1
    return counts


def share(counts: Counts, kind: str, answer: str) -> float:
    """The share of an answer in a question type; 0 of a type without answers."""
    of = counts.get(kind, Counter())
    return of[answer] / max(1, of.total())


@dataclass
class Shift:
    """The answers of Q questions, compared with a prior for each question type."""

    examples: Sequence[Example]
    prior: Counts

    def __post_init__(self) -> None:
        """Number the images and the types; the pair of type and answer of each question [Q]; and the type [P] and the
        prior [P] of each pair."""
        self._image = number_ids(example.image_id for example in self.examples)
        pairs = list(map(_pair, self.examples))
        self._types = {name: number for number, name in enumerate(sorted({kind for kind, _ in pairs}))}
        self._weights = np.bincount([self._types[kind] for kind, _ in pairs])
        self._pair_of = number_ids(pairs)
        self._type_of = np.array([self._types[kind] for kind, _ in dict.fromkeys(pairs)])
        self._prior = np.array([share(self.prior, *pair) for pair in dict.fromkeys(pairs)])

    def scores(self, resamples: int, seed: int) -> dict[str, Any]:
        """`total_variation` and `divergence` (Jensen-Shannon, in bits), both in 0..1, of each question type, and their
        mean over questions, with intervals over images."""
        resampler = Resampler(int(self._image.max()) + 1, resamples, seed)
        samples = np.concatenate([self._measure(counts[:, self._image]) for counts in resampler.counts()])
        (values,) = self._measure(np.ones((1, len(self.examples))))
        weights = self._weights
        found: dict[str, Any] = {}
        by_type: dict[str, Scores] = {kind or "(none)": {} for kind in self._types}
        for place, name in enumerate(("total_variation", "divergence")):
            drawn = samples[..., place]  # [resamples, types]; nan where a set has none of a type
            present = weights * ~np.isnan(drawn)
            means = np.nansum(weights * drawn, 1) / present.sum(1)
            mean = float(weights @ values[:, place] / weights.sum())
            found[name] = distance_interval(mean, means, len(self.examples))
            for number, of_type in enumerate(by_type.values()):
                of_type[name] = distance_interval(float(values[number, place]), drawn[:, number], int(weights[number]))
        return found | {"per_question_type": by_type}

    def _measure(self, weights: Floats) -> Floats:
        """Both measures of each type [sets, types, 2], of questions with these `weights` [sets, Q], their counts in a
        resample."""
        type_of, prior, types = self._type_of, self._prior, len(self._types)
        # Answers that only train has are not among the pairs.
        rest = 1 - np.bincount(type_of, prior, types)
        found = []
        for drawn in weights:
            counts = np.bincount(self._pair_of, drawn, len(prior))
            totals = np.bincount(type_of, counts, types)
            with np.errstate(divide="ignore", invalid="ignore"):
                shares = counts / totals[type_of]
                middle = (shares + prior) / 2
                apart = np.bincount(type_of, np.abs(shares - prior), types) + rest
                bits = np.nan_to_num(shares * np.log2(shares / middle)) + np.nan_to_num(prior * np.log2(prior / middle))
                divergence = np.bincount(type_of, bits, types) + rest
            empty = np.where(totals > 0, 1.0, np.nan)
            found.append(np.stack([apart, divergence], 1) / 2 * empty[:, None])
        return np.stack(found)


def probe_priors(
    train: str | Path,
    test: str | Path,
    *,
    predictions: str | Path | None = None,
    alpha: float = 0.2,
    protocol: str = DEFAULT_PROTOCOL,
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """How far do the priors of answers shift from train to test, and how accurate is a model on rare answers?

    Args:
        train: questions with answers: prepared .jsonl, or official VQA annotations.
        test: the same of test.
        predictions: answers to test, for accuracies on head and tail: predictions.jsonl, or VQA results.
        alpha: the tail: answers that train has at most (1 + alpha) times as often as the mean answer of their type.
        protocol: of the accuracy.
        resamples, seed: of the bootstrap over images; the seed also of the random part of train for the baseline.

    Raises:
        UserError: a file is invalid, questions have no answers, ids do not match, or alpha is negative.
    """
    if not alpha >= 0:
        raise UserError(f"--alpha must be 0 or more, not {alpha}")
    trained, questions = map(read_answered, (train, test))
    counts = count_answers(trained.values())
    scores = Shift(list(questions.values()), counts).scores(resamples, seed)
    part, rest = _parted(list(trained.values()), len(questions), seed)
    baselines = {"part of train": Shift(part, count_answers(rest)).scores(resamples, seed)}
    cases = _moved(counts, count_answers(questions.values()))
    notes: list[str] = []
    not_computed = {} if predictions else {"accuracy": "needs --predictions"}
    settings: dict[str, Any] = {"train": str(train), "test": str(test), "predictions": None, "alpha": alpha}
    if predictions is not None:
        matched = match_answers(predictions, questions)
        notes = matched.notes
        predicted = matched.texts
        tail = _in_tail(questions, counts, alpha)
        scores["accuracy"] = _accuracy(predicted, questions, tail, protocol, resamples, seed)
        for name in {"head", "tail"} - scores["accuracy"].keys():
            not_computed[f"accuracy: {name}"] = "no question of test has such an answer"
        prior = AnswerPrior(counts)
        guesses = {kind: commonest(prior.of(kind)) for kind in {each.question_type for each in questions.values()}}
        guessed = {id: guesses[each.question_type] for id, each in questions.items()}
        baselines["prior-per-type"] = {"accuracy": _accuracy(guessed, questions, tail, protocol, resamples, seed)}
        cases = _lured(predicted, questions, guessed, counts)
        settings |= {"predictions": str(predictions), "protocol": protocol}
    return Finding(
        scores=scores,
        settings={**settings, "n": len(questions), **bootstrap_settings(resamples, seed)},
        baselines=baselines,
        cases=cases,
        not_computed=not_computed,
        notes=notes,
    )


def _parted(examples: Sequence[Example], questions: int, seed: int) -> tuple[list[Example], list[Example]]:
    """A random part of train with as many questions as test, but at most half of the images, and the rest, split by
    image: the fewer the questions, the larger the shift by chance."""
    of: dict[Id, list[Example]] = {}
    for example in examples:
        of.setdefault(example.image_id, []).append(example)
    images = sorted(of, key=str)
    if len(images) < 2:
        raise UserError("train has questions about one image only; a prior needs more")
    Random(seed).shuffle(images)
    sums = np.cumsum([len(of[image]) for image in images])
    count = min(1 + int(np.searchsorted(sums, questions)), len(images) // 2)
    part, rest = ([example for image in each for example in of[image]] for each in (images[:count], images[count:]))
    return part, rest


def _moved(train: Counts, test: Counts) -> list[dict[str, Any]]:
    """The answers whose shares within their type differ most, by the number of questions that this amounts to."""
    moved = []
    for kind, counts in test.items():
        for answer in {**train.get(kind, {}), **counts}:
            was, is_ = share(train, kind, answer), share(test, kind, answer)
            entry = {"id": f"{kind}: {answer}" if kind else answer, "train": f"{was:.1%}", "test": f"{is_:.1%}"}
            moved.append((-abs(is_ - was) * counts.total(), entry))
    return [entry for by, entry in sorted(moved, key=lambda each: each[0])[:TELLING] if by]


def _in_tail(questions: Mapping[Id, Example], counts: Counts, alpha: float) -> NDArray[np.bool_]:
    """Mask of the questions whose answer is rare in train for their type, or not in train."""
    most = {kind: (1 + alpha) * each.total() / len(each) for kind, each in counts.items()}
    pairs = map(_pair, questions.values())
    return np.array([counts.get(kind, Counter())[answer] <= most.get(kind, 0.0) for kind, answer in pairs])


def _accuracy(
    predicted: Mapping[Id, str],
    questions: Mapping[Id, Example],
    tail: NDArray[np.bool_],
    protocol: str,
    resamples: int,
    seed: int,
) -> Scores:
    """VQA accuracy in percent, of all questions, of those with a head answer, and of those with a tail answer."""
    scored = compare_answers(predicted, questions, protocol)
    images = int(scored.clusters.max()) + 1
    parts = {}
    for name, members in (("all", tail | True), ("head", ~tail), ("tail", tail)):
        above = np.bincount(scored.clusters, scored.per_question["accuracy"] * members, images)
        parts[name] = Ratio(above, np.bincount(scored.clusters, members, images))
    return ratios(parts, Resampler(images, resamples, seed))


def _lured(
    predicted: Mapping[Id, str], questions: Mapping[Id, Example], guessed: Mapping[Id, str], counts: Counts
) -> list[dict[str, Any]]:
    """Wrong answers that are the most frequent of their type; those first whose correct answer is rarest."""
    lured = [
        (id, each) for id, each in questions.items() if canonical_answer(predicted[id]) == guessed[id] != correct(each)
    ]
    return [
        {"id": id, "question": each.question, "said": predicted[id], "right": correct(each)}
        for id, each in sorted(lured, key=lambda pair: share(counts, *_pair(pair[1])))[:TELLING]
    ]

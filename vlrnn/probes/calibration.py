"""Calibration of VQA models: confidence against accuracy."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlrnn.data.formats.answers import match_answers, read_answered
from vlrnn.data.matching import Matched, name_some
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.metrics.statistics import Floats, Resampler, distance_interval, interval
from vlrnn.metrics.vqa import compare_answers
from vlrnn.probes.finding import TELLING, Finding
from vlrnn.text.answer_vocabulary import majority
from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL

BINS = 15
RISKS = (0.01, 0.05, 0.1, 0.2)

_ROUNDING = 1e-12


@dataclass(frozen=True)
class ConfidenceTable:
    """Q answers: how `sure` the model was of each, and how `right` it was, both in 0..1; and which `image`, numbered,
    each is about, as questions about one image are not independent."""

    confidence: Floats
    right: Floats
    image: NDArray[np.int64]

    def scores(self, resamples: int, seed: int) -> dict[str, Any]:
        """`ECE` by bins of equal width, `ECE_adaptive` by bins of equal mass, `Brier`, `AURC`, its excess over the best
        order `E_AURC`, and `coverage_at_risk`: the largest share of the questions, the surest, at which no more than
        that share of the answers is wrong. All are in 0..1, with their intervals over images."""
        resampler = Resampler(int(self.image.max()) + 1, resamples, seed)
        samples = np.array([self._measure(drawn[self.image]) for counts in resampler.counts() for drawn in counts])
        values = self._measure(np.ones(len(self.confidence)))
        found = {}
        for place, name in enumerate(_NAMES):
            spread = distance_interval if name.startswith("ECE") else interval
            found[name] = spread(float(values[place]), samples[:, place], len(self.confidence))
        coverages = {f"{risk:.0%}": found.pop(f"{risk:.0%}") for risk in RISKS}
        return {**found, "coverage_at_risk": coverages}

    def _measure(self, weights: Floats) -> Floats:
        """All measures, in the order of `_NAMES`, of questions drawn as often as `weights` [Q] say."""
        over = weights * self._over
        risks, covered = self._risk_coverage(weights)
        sums = (
            np.abs(np.bincount(self._widths, over, BINS)).sum(),
            np.abs(np.bincount(self._masses, over, BINS)).sum(),
            weights @ self._over**2,
            area := weights[self._order] @ risks,
            area - self._least_area(weights),
            *(np.max(covered, where=risks <= risk + _ROUNDING, initial=0.0) for risk in RISKS),
        )
        return np.round(np.array(sums) / weights.sum(), 12)  # what is added and taken away again is not quite 0

    @cached_property
    def _over(self) -> Floats:
        """By how much the model was surer than it was right."""
        return self.confidence - self.right

    @cached_property
    def _widths(self) -> NDArray[np.int64]:
        return np.minimum((self.confidence * BINS).astype(np.int64), BINS - 1)

    @cached_property
    def _masses(self) -> NDArray[np.int64]:
        """Who is as sure as another is in the same bin: their order is by chance."""
        return np.searchsorted(np.sort(self.confidence), self.confidence) * BINS // len(self.confidence)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """The surest first."""
        return np.argsort(-self.confidence, kind="stable")

    @cached_property
    def _last(self) -> NDArray[np.int64]:
        """For each question, the surest first, the place of the last that is as sure."""
        falling = -self.confidence[self._order]
        return np.searchsorted(falling, falling, side="right") - 1

    @cached_property
    def _best(self) -> NDArray[np.int64]:
        """What is right first."""
        return np.argsort(-self.right, kind="stable")

    def _risk_coverage(self, weights: Floats) -> tuple[Floats, Floats]:
        """At each question [Q], the surest first: the risk of answering all that are as sure at least, and how many
        they are. Who is as sure as another cannot be told from it: ties stand or fall together."""
        risks, covered = self._running(weights, self._order)
        return risks[self._last], covered[self._last]

    def _least_area(self, weights: Floats) -> float:
        """The area under the curve of a model that is surer of whatever is more right."""
        risks, _ = self._running(weights, self._best)
        return float(weights[self._best] @ risks)

    def _running(self, weights: Floats, order: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """In an order, the risk of answering all so far, and how many they are."""
        drawn = weights[order]
        covered = drawn.cumsum()
        return (drawn * (1 - self.right[order])).cumsum() / np.maximum(covered, 1), covered

    def reliability(self) -> list[dict[str, float | int]]:
        """For a picture: of each bin of equal width that has any, how many, how sure and how right."""
        bins = [(each, self._widths == each) for each in range(BINS)]
        return [
            {
                "low": each / BINS,
                "high": (each + 1) / BINS,
                "n": int(members.sum()),
                "sure": float(self.confidence[members].mean()),
                "right": float(self.right[members].mean()),
            }
            for each, members in bins
            if members.any()
        ]

    def risk_coverage(self, points: int = 50) -> list[dict[str, float]]:
        """For a picture: coverage and risk at so many coverages."""
        risks, covered = self._risk_coverage(np.ones(len(self.confidence)))
        places = np.unique(np.linspace(0, len(risks) - 1, points).astype(int))
        return [{"coverage": covered[each] / len(risks), "risk": float(risks[each])} for each in places]


_NAMES = ("ECE", "ECE_adaptive", "Brier", "AURC", "E_AURC", *(f"{risk:.0%}" for risk in RISKS))


def tempered(sure: Floats, temperature: float) -> Floats:
    """Confidence whose logit is divided by a temperature."""
    result: Floats = 1 / (1 + np.exp(-_logit(sure) / temperature))
    return result


def fit_temperature(sure: Floats, right: Floats) -> float:
    """The temperature, from 0.01 to 100, that makes what was right likeliest: it minimises the cross entropy."""

    def loss(log_temperature: float) -> float:
        logits = _logit(sure) / np.exp(log_temperature)
        return float((np.logaddexp(0, logits) - right * logits).mean())

    low, high, golden = np.log(0.01), np.log(100), (np.sqrt(5) - 1) / 2
    for _ in range(60):  # golden-section search: the loss has one minimum
        left, right_end = high - golden * (high - low), low + golden * (high - low)
        if loss(left) < loss(right_end):
            high = right_end
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _logit(sure: Floats) -> Floats:
    clipped = np.clip(sure, 1e-6, 1 - 1e-6)
    result: Floats = np.log(clipped / (1 - clipped))
    return result


TEMPERED = ("ECE", "ECE_adaptive", "Brier")
"""What a temperature changes; it leaves the order of answers, and so risk and coverage, as they are."""


def probe_calibration(
    predictions: str | Path,
    references: str | Path,
    *,
    val: str | Path | None = None,
    val_references: str | Path | None = None,
    protocol: str = DEFAULT_PROTOCOL,
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """Does the confidence of a VQA model match its accuracy? Confidence is the probability of the answer given, `score`
    of a prediction; right is its VQA accuracy, in 0..1.

    Args:
        predictions: predictions.jsonl, with the score of each answer.
        references: the questions: prepared .jsonl, or official VQA annotations.
        val: predictions of a validation split, on which a temperature is fitted; the measures that it changes are
            under `tempered`. Of a run folder those of val.
        val_references: the questions of the validation split.
        protocol: of the accuracy.
        resamples, seed: of the bootstrap over images.

    Raises:
        UserError: a file is wrong, ids do not match, or an answer has no confidence in 0..1.
    """
    if (val is None) != (val_references is None):
        raise UserError("--val and --val_references belong together: a temperature takes both")
    answered = _read(predictions, references)
    judged = _judge(answered, protocol, str(predictions))
    notes = answered.notes
    base = float(judged.right.mean())
    scores = judged.scores(resamples, seed)
    temperature, untempered = None, "needs the predictions of val (--val, --val_references)"
    if val is not None and val_references is not None:
        held_out = _read(val, val_references)
        held = _judge(held_out, protocol, str(val))
        notes = [*notes, *held_out.notes, *_overlap_notes(answered, held_out)]
        if set(held.right.tolist()) in ({0.0}, {1.0}):
            untempered = f"all {len(held.right):,} answers of val are {'right' if held.right[0] else 'wrong'}"
        else:
            temperature = fit_temperature(held.confidence, held.right)
            notes.append(f"temperature {temperature:.4g}, fitted on {len(held.confidence):,} answers of val")
            cooled = replace(judged, confidence=tempered(judged.confidence, temperature)).scores(resamples, seed)
            scores["tempered"] = {name: cooled[name] for name in TEMPERED}
    rows = {"always sure": 1.0, "base rate": base}
    return Finding(
        scores=scores,
        settings={
            "predictions": str(predictions),
            "references": str(references),
            "val": None if val is None else str(val),
            "val_references": None if val_references is None else str(val_references),
            "confidence": "the probability of the answer given",
            "protocol": protocol,
            "bins": BINS,
            "temperature": temperature,
            "accuracy": base,
            "mean_confidence": float(judged.confidence.mean()),
            "n": len(judged.confidence),
            "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95},
        },
        baselines={
            row: replace(judged, confidence=np.full_like(judged.confidence, sure)).scores(resamples, seed)
            for row, sure in rows.items()
        },
        cases=_overconfident(answered, judged),
        details={"reliability": judged.reliability(), "risk_coverage": judged.risk_coverage()},
        not_computed={} if temperature else {"tempered": untempered},
        notes=notes,
    )


def _read(predictions: str | Path, references: str | Path) -> Matched[Example]:
    return match_answers(predictions, read_answered(references))


def _overlap_notes(answered: Matched[Example], held_out: Matched[Example]) -> list[str]:
    """A note on questions of val that are also among those that are judged."""
    both = [id for id, example in held_out.references.items() if answered.references.get(id) == example]
    return [f"{len(both)} questions of val are among those judged: {name_some(both)}"] if both else []


def _judge(answered: Matched[Example], protocol: str, place: str) -> ConfidenceTable:
    for id, prediction in answered.predictions.items():
        if prediction.score is None or not 0 <= prediction.score <= 1:
            raise UserError(f"{place}: the answer to question {id!r} has no confidence ('score') in 0..1")
    texts = {id: prediction.text for id, prediction in answered.predictions.items()}
    scored = compare_answers(texts, answered.references, protocol)
    sure = np.array([answered.predictions[id].score for id in scored.ids], float)
    return ConfidenceTable(sure, scored.per_question["accuracy"] / 100, scored.clusters)


def _overconfident(answered: Matched[Example], judged: ConfidenceTable) -> list[dict[str, Any]]:
    """The surest of what is wrong."""
    ids = list(answered.references)
    wrong = np.flatnonzero(judged.right == 0)
    surest = [ids[place] for place in wrong[np.argsort(-judged.confidence[wrong], kind="stable")][:TELLING]]
    return [
        {
            "id": id,
            "question": answered.references[id].question,
            "said": answered.predictions[id].text,
            "sure": round(answered.predictions[id].score or 0.0, 4),
            "right": majority(answered.references[id].answers),
        }
        for id in surest
    ]

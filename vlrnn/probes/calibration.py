"""Calibration of VQA models: confidence against accuracy."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlrnn.data.formats.answers import match_answers, read_answered
from vlrnn.data.matching import Matched, name_some
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.metrics.statistics import Floats, Resampler, bootstrap_settings, distance_interval, interval
from vlrnn.metrics.vqa import compare_answers
from vlrnn.probes.finding import TELLING, Finding, path_settings
from vlrnn.text.vocabulary import majority
from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL

BINS = 15
RISKS = (0.01, 0.05, 0.1, 0.2)

_ROUNDING = 1e-12


@dataclass
class ConfidenceTable:
    """Q answers: `confidence` and `right` (accuracy) of each, both in 0..1; and the index of its `image`, since
    questions about one image are not independent."""

    confidence: Floats
    right: Floats
    image: NDArray[np.int64]

    def __post_init__(self) -> None:
        self._over = self.confidence - self.right
        self._widths = np.minimum((self.confidence * BINS).astype(np.int64), BINS - 1)
        # Equal confidences are in the same bin, since their order is arbitrary.
        self._masses = np.searchsorted(np.sort(self.confidence), self.confidence) * BINS // len(self.confidence)
        self._order = np.argsort(-self.confidence, kind="stable")
        falling = -self.confidence[self._order]
        self._last = np.searchsorted(falling, falling, side="right") - 1  # for each, the last one of equal confidence
        self._best = np.argsort(-self.right, kind="stable")

    def scores(self, resamples: int, seed: int) -> dict[str, Any]:
        """`ECE` with bins of equal width, `ECE_adaptive` with bins of equal mass, `Brier`, `AURC`, its excess over the
        optimal order `E_AURC`, and `coverage_at_risk`: the largest coverage, by descending confidence, at which the
        risk is at most a given value. All are in 0..1, with intervals over images."""
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
        """All measures, in the order of `_NAMES`, of questions with these `weights` [Q], their counts in a resample."""
        over = weights * self._over
        risks, covered = self._risk_coverage(weights)
        sums = (
            np.abs(np.bincount(self._widths, over, BINS)).sum(),
            np.abs(np.bincount(self._masses, over, BINS)).sum(),
            weights @ self._over**2,
            area := weights[self._order] @ risks,
            area - weights[self._best] @ self._running(weights, self._best)[0],
            *(np.max(covered, where=risks <= risk + _ROUNDING, initial=0.0) for risk in RISKS),
        )
        return np.round(np.array(sums) / weights.sum(), 12)  # what is added and taken away again is not quite 0

    def _risk_coverage(self, weights: Floats) -> tuple[Floats, Floats]:
        """At each question [Q], by descending confidence: the risk of answering all questions of at least this
        confidence, and their number. Questions of equal confidence are answered together."""
        risks, covered = self._running(weights, self._order)
        return risks[self._last], covered[self._last]

    def _running(self, weights: Floats, order: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Cumulative risk and number of answered questions in an order."""
        drawn = weights[order]
        covered = drawn.cumsum()
        return (drawn * (1 - self.right[order])).cumsum() / np.maximum(covered, 1), covered

    def reliability(self) -> list[dict[str, float | int]]:
        """For a reliability diagram: count, mean confidence and accuracy of each non-empty bin of equal width."""
        found = []
        for each in np.unique(self._widths).tolist():
            members = self._widths == each
            means = {"sure": float(self.confidence[members].mean()), "right": float(self.right[members].mean())}
            found.append({"low": each / BINS, "high": (each + 1) / BINS, "n": int(members.sum()), **means})
        return found

    def risk_coverage(self, points: int = 50) -> list[dict[str, float]]:
        """For a plot: coverage and risk at this number of points."""
        risks, covered = self._risk_coverage(np.ones(len(self.confidence)))
        places = np.unique(np.linspace(0, len(risks) - 1, points).astype(int))
        return [{"coverage": covered[each] / len(risks), "risk": float(risks[each])} for each in places]


_NAMES = ("ECE", "ECE_adaptive", "Brier", "AURC", "E_AURC", *(f"{risk:.0%}" for risk in RISKS))


def tempered(sure: Floats, temperature: float) -> Floats:
    """Confidence whose logit is divided by a temperature."""
    return 1 / (1 + np.exp(-_logit(sure) / temperature))


def fit_temperature(sure: Floats, right: Floats) -> float:
    """The temperature, from 0.01 to 100, that minimises the cross entropy."""

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
    return np.log(clipped / (1 - clipped))


TEMPERED = ("ECE", "ECE_adaptive", "Brier")
"""The scores that depend on a temperature; the order of confidences, and so risk and coverage, do not."""


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
    """Does the confidence of a VQA model, the probability of its answer, match its VQA accuracy? Both are in 0..1.

    Args:
        predictions: predictions.jsonl, with the score of each answer.
        references: the questions: prepared .jsonl, or official VQA annotations.
        val: predictions of a validation split, on which a temperature is fitted; the measures that it changes are
            under `tempered`. Of a run folder those of val.
        val_references: the questions of the validation split.
        protocol: of the accuracy.
        resamples, seed: of the bootstrap over images.

    Raises:
        UserError: a file is invalid, ids do not match, or an answer has no confidence in 0..1.
    """
    if (val is None) != (val_references is None):
        raise UserError("--val and --val_references belong together: a temperature needs both")
    answered = match_answers(predictions, read_answered(references))
    judged = _judge(answered, protocol, str(predictions))
    base = float(judged.right.mean())
    scores = judged.scores(resamples, seed)
    temperature, untempered, notes = None, "needs the predictions of val (--val, --val_references)", answered.notes
    if val is not None and val_references is not None:
        held_out = match_answers(val, read_answered(val_references))
        temperature, untempered = _fitted(_judge(held_out, protocol, str(val)))
        notes = [*notes, *held_out.notes]
        if both := [id for id, each in held_out.references.items() if answered.references.get(id) == each]:
            notes.append(f"{len(both)} questions of val are also evaluated: {name_some(both)}")
    if temperature:
        notes.append(f"temperature {temperature:.4g}, fitted on {untempered}")
        cooled = replace(judged, confidence=tempered(judged.confidence, temperature)).scores(resamples, seed)
        scores["tempered"] = {name: cooled[name] for name in TEMPERED}
    baselines = {
        row: replace(judged, confidence=np.full_like(judged.right, value)).scores(resamples, seed)
        for row, value in (("always sure", 1.0), ("base rate", base))
    }
    paths = path_settings(predictions=predictions, references=references, val=val, val_references=val_references)
    used: dict[str, Any] = {"confidence": "the probability of the answer given", "protocol": protocol, "bins": BINS}
    used |= {"temperature": temperature, "accuracy": base, "mean_confidence": float(judged.confidence.mean())}
    return Finding(
        scores=scores,
        settings={**paths, **used, "n": len(judged.confidence), **bootstrap_settings(resamples, seed)},
        baselines=baselines,
        cases=_overconfident(answered, judged),
        details={"reliability": judged.reliability(), "risk_coverage": judged.risk_coverage()},
        not_computed={} if temperature else {"tempered": untempered},
        notes=notes,
    )


def _fitted(held_out: ConfidenceTable) -> tuple[float | None, str]:
    """The temperature and the answers that it is fitted on; or None and the reason."""
    count = f"{len(held_out.right):,} answers of val"
    if set(held_out.right.tolist()) in ({0.0}, {1.0}):
        return None, f"all {count} are {'right' if held_out.right[0] else 'wrong'}"
    return fit_temperature(held_out.confidence, held_out.right), count


def _judge(answered: Matched[Example], protocol: str, place: str) -> ConfidenceTable:
    for id, prediction in answered.predictions.items():
        if prediction.score is None or not 0 <= prediction.score <= 1:
            raise UserError(f"{place}: the answer to question {id!r} has no confidence ('score') in 0..1")
    scored = compare_answers(answered.texts, answered.references, protocol)
    sure = np.array([answered.predictions[id].score for id in scored.ids], float)
    return ConfidenceTable(sure, scored.per_question["accuracy"] / 100, scored.clusters)


def _overconfident(answered: Matched[Example], judged: ConfidenceTable) -> list[dict[str, Any]]:
    """The wrong answers of highest confidence."""
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

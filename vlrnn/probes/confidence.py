"""What confidence is worth: how far it is from how often it is right, and how well it tells right from wrong. Knows no
files.

Sources: Naeini et al., AAAI 2015, and Nguyen and O'Connor, EMNLP 2015, for the two calibration errors; Brier 1950;
Geifman and El-Yaniv, NIPS 2017, for risk and coverage; Geifman et al., ICLR 2019, for the excess; Whitehead et al.,
Reliable visual question answering, ECCV 2022, for the coverage at a risk; Guo et al., ICML 2017, for temperature.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlrnn.metrics.bootstrap import Floats, Resampler, distance_interval, interval

BINS = 15
RISKS = (0.01, 0.05, 0.1, 0.2)

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Judged:
    """Q answers: how `sure` the model was of each, and how `right` it was, both in 0..1; and which `image`, numbered,
    each is about, as questions about one image are not independent."""

    sure: Floats
    right: Floats
    image: NDArray[np.int64]

    def scores(self, resamples: int, seed: int) -> dict[str, Any]:
        """`ECE` by bins of equal width, `ECE_adaptive` by bins of equal mass, `Brier`, `AURC`, its excess over the best
        order `E_AURC`, and `coverage_at_risk`: the largest share of the questions, the surest, at which no more than
        that share of the answers is wrong. All are in 0..1, with their intervals over images."""
        resampler = Resampler(int(self.image.max()) + 1, resamples, seed)
        samples = np.array([self._measure(drawn[self.image]) for counts in resampler.counts() for drawn in counts])
        values = self._measure(np.ones(len(self.sure)))
        found = {}
        for place, name in enumerate(_NAMES):
            spread = distance_interval if name.startswith("ECE") else interval
            found[name] = spread(float(values[place]), samples[:, place], len(self.sure))
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
        return self.sure - self.right

    @cached_property
    def _widths(self) -> NDArray[np.int64]:
        return np.minimum((self.sure * BINS).astype(np.int64), BINS - 1)

    @cached_property
    def _masses(self) -> NDArray[np.int64]:
        """Who is as sure as another is in the same bin: their order is by chance."""
        return np.searchsorted(np.sort(self.sure), self.sure) * BINS // len(self.sure)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """The surest first."""
        return np.argsort(-self.sure, kind="stable")

    @cached_property
    def _last(self) -> NDArray[np.int64]:
        """For each question, the surest first, the place of the last that is as sure."""
        falling = -self.sure[self._order]
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
                "n": int(there.sum()),
                "sure": float(self.sure[there].mean()),
                "right": float(self.right[there].mean()),
            }
            for each, there in bins
            if there.any()
        ]

    def risk_coverage(self, points: int = 50) -> list[dict[str, float]]:
        """For a picture: coverage and risk at so many coverages."""
        risks, covered = self._risk_coverage(np.ones(len(self.sure)))
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

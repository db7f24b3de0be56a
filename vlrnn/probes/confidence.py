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
        samples = [self._measure(counts[:, self.image]) for counts in resampler.counts()]
        (value,) = self._measure(np.ones((1, len(self.sure))))
        every = np.concatenate(samples)  # [resamples, measures]
        found = {}
        for place, name in enumerate(_NAMES):
            spread = distance_interval if name.startswith("ECE") else interval
            found[name] = spread(float(value[place]), every[:, place], len(self.sure))
        coverages = {f"{risk:.0%}": found.pop(f"{risk:.0%}") for risk in RISKS}
        return {**found, "coverage_at_risk": coverages}

    def _measure(self, weights: Floats) -> Floats:
        """All measures [sets, measures] of sets of questions, drawn as often as `weights` [sets, Q] say."""
        total = weights.sum(1)
        by_width, by_mass = (self._calibration_error(weights, bins) for bins in (self._widths, self._masses))
        brier = weights @ (self.sure - self.right) ** 2
        risks, covered = self._risk_coverage(weights)
        area = self._area(weights, self._order, risks)
        best = self._area(weights, np.argsort(-self.right, kind="stable"), None)
        coverages = [(covered * (risks <= risk + 1e-12)).max(1) for risk in RISKS]
        return np.stack(
            [by_width / total, by_mass / total, brier / total, area / total, (area - best) / total]
            + [each / total for each in coverages],
            1,
        )

    def _calibration_error(self, weights: Floats, bins: NDArray[np.int64]) -> Floats:
        """The sum over bins of |what was expected - what was right|: [sets]."""
        apart = np.zeros((len(self.sure), BINS))
        apart[np.arange(len(bins)), bins] = self.sure - self.right
        error: Floats = np.abs(weights @ apart).sum(1)
        return error

    @cached_property
    def _widths(self) -> NDArray[np.int64]:
        return np.minimum((self.sure * BINS).astype(np.int64), BINS - 1)

    @cached_property
    def _masses(self) -> NDArray[np.int64]:
        places = np.empty(len(self.sure), np.int64)
        places[self._order[::-1]] = np.arange(len(self.sure))
        return places * BINS // len(self.sure)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """The surest first."""
        return np.argsort(-self.sure, kind="stable")

    def _risk_coverage(self, weights: Floats) -> tuple[Floats, Floats]:
        """At each question, the surest first: the risk of answering all that are as sure at least, and how many they
        are [sets, Q]. Who is as sure as another cannot be told from it: ties stand or fall together."""
        drawn = weights[:, self._order]
        covered, wrong = drawn.cumsum(1), (drawn * (1 - self.right[self._order])).cumsum(1)
        sure = self.sure[self._order]
        last = np.searchsorted(-sure, -sure, side="right") - 1  # of those as sure
        covered, wrong = covered[:, last], wrong[:, last]
        return wrong / np.maximum(covered, 1), covered

    def _area(self, weights: Floats, order: NDArray[np.int64], risks: Floats | None) -> Floats:
        """The sum of the risks [sets] over what is covered, in an order."""
        drawn = weights[:, order]
        if risks is None:
            risks = (drawn * (1 - self.right[order])).cumsum(1) / np.maximum(drawn.cumsum(1), 1)
        area: Floats = (drawn * risks).sum(1)
        return area

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
        (risks,), (covered,) = self._risk_coverage(np.ones((1, len(self.sure))))
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

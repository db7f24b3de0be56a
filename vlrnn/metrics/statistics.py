"""Statistics of scores: bootstrap intervals, paired differences, means per image, rank correlation.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16; for paired systems
Koehn, EMNLP 2004.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vlrnn.data.records import Id

Floats = NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)

_CELLS = 4_000_000
"""Items that are drawn at a time, 32 MB."""


def bootstrap_settings(resamples: int, seed: int, over: str | None = None) -> dict[str, Any]:
    """The entry of the bootstrap in the settings of a result; `over` names what is resampled, by default images."""
    return {"bootstrap": ({"over": over} if over else {}) | {"resamples": resamples, "seed": seed, "level": 0.95}}


class Resampler:
    """Resampled sets of items, the same for every quantity, for paired comparisons.

    Args:
        items: number of items.
        resamples: number of sets.
        seed: determines the sets.
    """

    def __init__(self, items: int, resamples: int = 1000, seed: int = 0) -> None:
        self.items, self.resamples, self.seed = items, resamples, seed

    def sums(self, values: NDArray[Any]) -> Floats:
        """The sum over each set: [items, ...] -> [resamples, ...]."""
        flat = values.reshape(self.items, -1).astype(np.float64)
        sums = np.concatenate([counts @ flat for counts in self.counts()])
        return sums.reshape(self.resamples, *values.shape[1:])

    def counts(self) -> Iterator[Floats]:
        """The count of each item in each set, [sets, items], some sets at a time."""
        random = np.random.default_rng(self.seed)
        step = max(1, _CELLS // self.items)
        for first in range(0, self.resamples, step):
            sets = min(step, self.resamples - first)
            drawn = random.integers(0, self.items, (sets, self.items)) + np.arange(sets)[:, None] * self.items
            counts = np.bincount(drawn.ravel(), minlength=sets * self.items)
            yield counts.reshape(sets, self.items).astype(np.float64)


def interval(value: float, samples: Floats, items: int, level: float = 0.95) -> dict[str, float | int]:
    """A value with its percentile interval, for result files: `{"value", "low", "high", "n"}`.

    Args:
        value: of the items themselves.
        samples: [resamples], the value of each resampled set on which it is defined; without any, the interval is the
            value.
        items: number of items.
        level: fraction of the samples within the interval.
    """
    if not len(samples):  # a rare quantity that is undefined on all sets
        samples = np.array([value])
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return {"value": value, "low": float(low), "high": float(high), "n": items}


class Ratio(NamedTuple):
    """The sum of one quantity over items, `above` [items], divided by that of another, `below` [items], as for a mean
    or a rate. `n` is the number of cases, by default the sum of `below`."""

    above: NDArray[Any]
    below: NDArray[Any]
    n: int | None = None


def ratios(
    parts: Mapping[Name, Ratio], resampler: Resampler, scale: float = 1.0, level: float = 0.95
) -> dict[Name, dict[str, float | int]]:
    """Ratios with their intervals, as `interval` gives them.

    Args:
        parts: name -> ratio, over the items of the resampler.
        resampler: of the intervals.
        scale: factor of all ratios, 100 for percent.
        level: fraction of the samples within an interval.

    Returns:
        name -> value with interval, without ratios with a zero denominator; resampled sets with a zero denominator are
        left out of the interval.
    """
    defined = {name: part for name, part in parts.items() if part.below.sum() > 0}
    if not defined:
        return {}
    columns = np.stack([np.stack([part.above, part.below], -1) for part in defined.values()], 1)
    sums = resampler.sums(columns)  # [resamples, parts, 2]
    found = {}
    for place, (name, part) in enumerate(defined.items()):
        above, below = sums[:, place].T
        value = scale * float(part.above.sum() / part.below.sum())
        count = int(part.below.sum()) if part.n is None else part.n
        found[name] = interval(value, scale * above[below > 0] / below[below > 0], count, level)
    return found


def distance_interval(value: float, samples: Floats, items: int) -> dict[str, float | int]:
    """As `interval`, for a distance, which is non-negative and biased upwards on resampled sets: the samples are
    shifted so that their mean is the value (Efron and Tibshirani, chapter 10)."""
    return interval(value, np.clip(samples - (samples.sum() / max(1, len(samples)) - value), 0, None), items)


def p_value(difference: float, samples: Floats) -> float:
    """Two-sided p value of a difference of two systems on the same items: the fraction of samples, shifted to mean
    zero, that are at least as large (Riezler and Maxwell, ACL workshop 2005). Never 0, since the data count as a
    sample."""
    extreme = np.abs(samples - samples.mean()) >= abs(difference)
    return float((1 + extreme.sum()) / (1 + len(samples)))


class MeansByImage:
    """Means with intervals, on the same resampled sets of images.

    Args:
        images: image id of each item.
        resamples, seed: of the bootstrap.

    `count` is the number of images.
    """

    def __init__(self, images: Sequence[Id], resamples: int, seed: int) -> None:
        numbers: dict[Id, int] = {}
        self._image = np.array([numbers.setdefault(image, len(numbers)) for image in images], np.int64)
        self.count = len(numbers)
        self._resampler = Resampler(self.count, resamples, seed)

    def of(
        self, columns: Mapping[str, NDArray[Any]], below: Floats | None = None, members: NDArray[Any] | None = None
    ) -> dict[str, dict[str, float | int]]:
        """The mean of each column [items] over the `members` (mask [items], by default all); or its sum divided by that
        of `below` [items]. Empty if there is no member."""
        counted = np.ones(len(self._image)) if members is None else members
        counts = self._sums(counted if below is None else counted * below)
        parts = {name: Ratio(self._sums(counted * each), counts, int(counted.sum())) for name, each in columns.items()}
        return ratios(parts, self._resampler)

    def of_groups(
        self, columns: Mapping[Name, Floats], groups: Mapping[str, NDArray[np.bool_]]
    ) -> dict[str, dict[Name, dict[str, float | int]]]:
        """The mean of each column [items] over the members [items] of each group; without empty groups."""
        parts = {}
        for group, members in groups.items():
            counts = self._sums(members)
            for name, each in columns.items():
                parts[group, name] = Ratio(self._sums(members * each), counts)
        found: dict[str, dict[Name, dict[str, float | int]]] = {}
        for (group, name), score in ratios(parts, self._resampler).items():
            found.setdefault(group, {})[name] = score
        return found

    def _sums(self, values: NDArray[Any]) -> Floats:
        return np.bincount(self._image, values, self.count).astype(np.float64)


def difference(value: float, samples: Floats, items: int) -> dict[str, float | int]:
    """A difference of two systems with its interval and p value, for result files.

    Args:
        value: on the items themselves.
        samples: [resamples], on each resampled set.
        items: number of items.
    """
    return interval(value, samples, items) | {"p": p_value(value, samples)}


def spearman(x: Floats, y: Floats) -> float | None:
    """Spearman's rank correlation of two quantities [items], with mean ranks for ties; None for fewer than three items,
    or if one of the two is constant."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks

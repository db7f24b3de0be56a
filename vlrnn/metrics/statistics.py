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
"""Resampling is done in parts of about so many drawn items, 32 MB, whatever the number of items."""


def bootstrap_settings(resamples: int, seed: int) -> dict[str, Any]:
    """The entry of the bootstrap in the settings of a result."""
    return {"bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95}}


class Resampler:
    """Resampled sets of items, the same ones for every quantity, so that systems are compared in pairs.

    Args:
        items: how many items there are.
        resamples: how many sets are drawn.
        seed: the same seed draws the same sets.
    """

    def __init__(self, items: int, resamples: int = 1000, seed: int = 0) -> None:
        self.items, self.resamples, self.seed = items, resamples, seed

    def sums(self, values: NDArray[Any]) -> Floats:
        """The sum over each set: [items, ...] -> [resamples, ...]."""
        flat = values.reshape(self.items, -1).astype(np.float64)
        sums = np.concatenate([counts @ flat for counts in self.counts()])
        return sums.reshape(self.resamples, *values.shape[1:])

    def counts(self) -> Iterator[Floats]:
        """How often each item stands in each set, [sets, items], some sets at a time."""
        random = np.random.default_rng(self.seed)
        step = max(1, _CELLS // self.items)
        for first in range(0, self.resamples, step):
            sets = min(step, self.resamples - first)
            drawn = random.integers(0, self.items, (sets, self.items)) + np.arange(sets)[:, None] * self.items
            counts = np.bincount(drawn.ravel(), minlength=sets * self.items)
            yield counts.reshape(sets, self.items).astype(np.float64)


def interval(value: float, samples: Floats, items: int, level: float = 0.95) -> dict[str, float | int]:
    """A value with its percentile interval, as result files have it: `{"value", "low", "high", "n"}`.

    Args:
        value: the value on the items themselves.
        samples: [resamples], the value on each resampled set that has one; of none the interval is the value.
        items: how many items.
        level: the share of the samples that the interval holds.
    """
    if not len(samples):  # few sets were drawn, and none has anything of so rare a quantity
        samples = np.array([value])
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return {"value": value, "low": float(low), "high": float(high), "n": items}


class Ratio(NamedTuple):
    """The sum of one quantity over items, `above` [items], divided by that of another, `below` [items]: a share, a
    mean, a rate. `n` is how many were counted, by default the sum of `below`."""

    above: NDArray[Any]
    below: NDArray[Any]
    n: int | None = None


def ratios(
    parts: Mapping[Name, Ratio], resampler: Resampler, scale: float = 1.0, level: float = 0.95
) -> dict[Name, dict[str, float | int]]:
    """Ratios with their intervals, as `interval` gives them.

    Args:
        parts: name -> ratio, over the items of the resampler.
        resampler: draws the same sets of items for all.
        scale: what all are multiplied by, 100 for percent.
        level: the share of the samples that an interval holds.

    Returns:
        of each name; one that has nothing below in all items is absent. Sets of items that have nothing below for it
        say nothing of its interval.
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
    """As `interval`, of a distance, which is never below zero: on resampled sets, in which chance comes twice, it is
    larger than on the items themselves. So the samples are moved down until their mean is the value (Efron and
    Tibshirani, chapter 10)."""
    return interval(value, np.clip(samples - (samples.sum() / max(1, len(samples)) - value), 0, None), items)


def p_value(difference: float, samples: Floats) -> float:
    """Two-sided p value of a difference of two systems over the same items: how often chance alone, which is
    the samples moved to the mean of zero, gives one as large (Riezler and Maxwell, ACL workshop 2005). Never
    0: the data count as a sample."""
    extreme = np.abs(samples - samples.mean()) >= abs(difference)
    return float((1 + extreme.sum()) / (1 + len(samples)))


class MeansByImage:
    """Means with their intervals, of the same resampled sets of images for all.

    Args:
        images: the id of the image of each item.
        resamples, seed: of the bootstrap.

    `count` is how many images there are.
    """

    def __init__(self, images: Sequence[Id], resamples: int, seed: int) -> None:
        numbers: dict[Id, int] = {}
        self._image = np.array([numbers.setdefault(image, len(numbers)) for image in images], np.int64)
        self.count = len(numbers)
        self._resampler = Resampler(self.count, resamples, seed)

    def of(
        self, columns: Mapping[str, NDArray[Any]], below: Floats | None = None, members: NDArray[Any] | None = None
    ) -> dict[str, dict[str, float | int]]:
        """The mean of each column [items] over the members [items], which are true or 1, by default all; or the sum of
        each over that of what is `below` [items]. Nothing where there is no member."""
        counted = np.ones(len(self._image)) if members is None else members
        counts = self._sums(counted if below is None else counted * below)
        parts = {name: Ratio(self._sums(counted * each), counts, int(counted.sum())) for name, each in columns.items()}
        return ratios(parts, self._resampler)

    def of_groups(
        self, columns: Mapping[Name, Floats], groups: Mapping[str, NDArray[np.bool_]]
    ) -> dict[str, dict[Name, dict[str, float | int]]]:
        """The mean of each column [items] over each group's members [items]; one without members is absent."""
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
    """A difference of two systems with its interval and p value, as result files have it.

    Args:
        value: the difference on the items themselves.
        samples: [resamples], the difference on each resampled set.
        items: how many items.
    """
    return interval(value, samples, items) | {"p": p_value(value, samples)}


def spearman(x: Floats, y: Floats) -> float | None:
    """Spearman's rank correlation of two quantities [items], ties sharing their mean rank; None for fewer than three
    items, or where one of the two is the same everywhere."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks

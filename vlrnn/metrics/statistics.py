"""Statistics of scores: bootstrap intervals, paired differences, means per image, rank correlation.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16; for paired systems
Koehn, EMNLP 2004.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vlrnn.data.records import Id

Floats = NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)
Score = dict[str, float | int]
"""A value with its interval, for result files: `{"value", "low", "high", "n"}`."""
Scores = dict[str, Score]

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


def interval(value: float, samples: Floats, items: int, level: float = 0.95) -> Score:
    """A value with its percentile interval, for result files: `{"value", "low", "high", "n"}`.

    Args:
        value: of the items themselves.
        samples: [resamples], the value of each resampled set, NaN where it is not defined; without any that is, the
            interval is the value.
        items: number of items.
        level: fraction of the samples within the interval.
    """
    low, high = np.quantile(_defined(samples, value), [(1 - level) / 2, (1 + level) / 2])
    return {"value": value, "low": float(low), "high": float(high), "n": items}


def _defined(samples: Floats, value: float) -> Floats:
    """The samples that are not NaN; of a rare quantity, if there is none, the value itself."""
    defined = samples[~np.isnan(samples)]
    return defined if len(defined) else np.array([value])


class Ratio(NamedTuple):
    """The sum of one quantity over items, `above` [items], divided by that of another, `below` [items], as for a mean
    or a rate. `n` is the number of cases, by default the sum of `below`."""

    above: NDArray[Any]
    below: NDArray[Any]
    n: int | None = None


def ratios(
    parts: Mapping[Name, Ratio], resampler: Resampler, scale: float = 1.0, level: float = 0.95
) -> dict[Name, Score]:
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


def distance_interval(value: float, samples: Floats, items: int) -> Score:
    """As `interval`, for a distance, which is non-negative and biased upwards on resampled sets: the samples are
    shifted so that their mean is the value (Efron and Tibshirani, chapter 10)."""
    defined = _defined(samples, value)
    return interval(value, np.clip(defined - (defined.sum() / len(defined) - value), 0, None), items)


def p_value(difference: float, samples: Floats) -> float:
    """Two-sided p value of a difference of two systems on the same items: the fraction of samples, shifted to mean
    zero, that are at least as large (Riezler and Maxwell, ACL workshop 2005). Never 0, since the data count as a
    sample."""
    extreme = np.abs(samples - samples.mean()) >= abs(difference)
    return float((1 + extreme.sum()) / (1 + len(samples)))


def number_ids(ids: Iterable[Hashable]) -> NDArray[np.int64]:
    """The number of each id [items], in the order of their first appearance."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(id, len(numbers)) for id in ids], np.int64)


def commonest(counts: Mapping[str, int]) -> str:
    """The most frequent text; of equally frequent ones the first in alphabetical order."""
    return min(counts, key=lambda text: (-counts[text], text))


class MeansByImage:
    """Means with intervals, on the same resampled sets of images.

    Args:
        images: image id of each item.
        resamples, seed: of the bootstrap.

    `count` is the number of images.
    """

    def __init__(self, images: Sequence[Id], resamples: int, seed: int) -> None:
        self._image = number_ids(images)
        self.count = len(set(images))
        self._resampler = Resampler(self.count, resamples, seed)

    def ratios(self, parts: Mapping[Name, Ratio], scale: float = 1.0) -> dict[Name, Score]:
        """Ratios over the items; see `ratios`."""
        sums = {name: Ratio(self._sums(above), self._sums(below), n) for name, (above, below, n) in parts.items()}
        return ratios(sums, self._resampler, scale)

    def of(
        self, columns: Mapping[Name, NDArray[Any]], below: Floats | None = None, members: NDArray[Any] | None = None
    ) -> dict[Name, Score]:
        """The mean of each column [items] over the `members` (mask [items], by default all); or its sum divided by that
        of `below` [items]. Empty if there is no member."""
        counted = np.ones(len(self._image)) if members is None else members
        weights = counted if below is None else counted * below
        n = int(counted.sum())
        return self.ratios({name: Ratio(counted * each, weights, n) for name, each in columns.items()})

    def of_groups(
        self, columns: Mapping[Name, Floats], groups: Mapping[str, NDArray[np.bool_]]
    ) -> dict[str, dict[Name, Score]]:
        """The mean of each column [items] over the members [items] of each group; without empty groups."""
        pairs = product(groups.items(), columns.items())
        return nested(self.ratios({(group, name): Ratio(of * each, of) for (group, of), (name, each) in pairs}))

    def _sums(self, values: NDArray[Any]) -> Floats:
        return np.bincount(self._image, values, self.count).astype(np.float64)


def nested(scores: Mapping[tuple[Any, Name], Score]) -> dict[Any, dict[Name, Score]]:
    """(group, name) -> score, as group -> name -> score."""
    found: dict[Any, dict[Name, Score]] = {}
    for (group, name), score in scores.items():
        found.setdefault(group, {})[name] = score
    return found


def difference(value: float, samples: Floats, items: int) -> Score:
    """A difference of two systems with its interval and p value, for result files.

    Args:
        value: on the items themselves.
        samples: [resamples], on each resampled set; NaN where it is not defined.
        items: number of items.
    """
    return interval(value, samples, items) | {"p": p_value(value, _defined(samples, value))}


def spearman(x: Floats, y: Floats) -> float | None:
    """Spearman's rank correlation of two quantities [items], with mean ranks for ties; None for fewer than three items,
    or if one of the two is constant."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]

"""Means over items, resampled by image: what is said of one image, or asked about it, is not independent."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlrnn.metrics.bootstrap import Floats, Name, Ratio, Resampler, ratios
from vlrnn.records import Id


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

"""Rank correlation."""

import numpy as np

from vlrnn.metrics.bootstrap import Floats


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

"""CIDEr-D as the official caption scorer computes it (Vedantam et al., CVPR 2015, equations 1 to 4 and
section 6)."""

import numpy as np
from numpy.typing import NDArray

from vlrnn.metrics.ngrams import ORDERS, Ints, NgramCounts
from vlrnn.metrics.references import ReferenceTable

SIGMA = 6.0
"""Standard deviation, in words, of the Gaussian penalty for a difference in length."""


class CiderD:
    """Scores predictions against counted references, whose norms are computed once.

    Args:
        table: the references.
    """

    def __init__(self, table: ReferenceTable) -> None:
        self.table = table
        self._row_weights = []
        self._norms = []
        for order, rows in enumerate(table.orders):
            weights = rows.times * table.weights(order, rows.key & 0xFFFFFFFF)
            self._row_weights.append(weights)
            self._norms.append(np.sqrt(np.bincount(rows.caption, weights**2, len(table.lengths))))

    def score(self, counts: list[NgramCounts], lengths: Ints) -> NDArray[np.float64]:
        """CIDEr-D, 0..10, of each image [images].

        Args:
            counts: the n-grams of the predictions by order, one prediction per image of the table.
            lengths: [images], numbers of words.
        """
        table = self.table
        similarity = np.zeros(len(table.lengths))
        for order, rows in enumerate(counts):
            weights = rows.times * table.weights(order, rows.ngram)
            norms = np.sqrt(np.bincount(rows.caption, weights**2, len(lengths)))
            match = table.matches(order, rows)
            theirs = self._row_weights[order][match.row]
            products = np.minimum(weights[match.predicted], theirs) * theirs
            dots = np.bincount(table.orders[order].caption[match.row], products, len(table.lengths))
            dots = dots.astype(np.float64)  # without any match, bincount returns integers
            scale = norms[table.image_index] * self._norms[order]
            similarity += np.divide(dots, scale, out=dots, where=scale != 0)
        # The official scorer uses the number of bigrams as length: zero words and one word are equally long.
        difference = _bigrams(lengths)[table.image_index] - _bigrams(table.lengths)
        similarity *= np.exp(-(difference**2) / (2 * SIGMA**2))
        sums = np.bincount(table.image_index, similarity, len(lengths))
        return 10 * sums / ORDERS / table.references_per_image


def _bigrams(lengths: Ints) -> Ints:
    return np.maximum(0, lengths - 1)

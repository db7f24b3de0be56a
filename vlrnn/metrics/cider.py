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

    def score(self, counts: list[NgramCounts], lengths: Ints, images: Ints | None = None) -> NDArray[np.float64]:
        """CIDEr-D, 0..10, of each of M predictions [M].

        Args:
            counts: the n-grams of the predictions by order.
            lengths: [M], numbers of words.
            images: [M], the image of each, by its number in the table; by default one prediction per image, in order.
        """
        table = self.table
        if images is None:
            images = np.arange(len(table.references_per_image))
        # P pairs of a prediction and a reference of its image, prediction by prediction.
        references = table.references_per_image[images]  # [M]
        prediction = np.repeat(np.arange(len(images)), references)  # [P]
        offset = np.cumsum(table.references_per_image)[images] - np.cumsum(references)  # [M], from pair to reference
        reference = np.arange(len(prediction)) + offset[prediction]  # [P]
        similarity = np.zeros(len(prediction))
        for order, rows in enumerate(counts):
            weights = rows.times * table.weights(order, rows.ngram)
            norms = np.sqrt(np.bincount(rows.caption, weights**2, len(lengths)))
            match = table.matches(order, rows._replace(caption=images[rows.caption]))
            theirs = self._row_weights[order][match.row]
            products = np.minimum(weights[match.predicted], theirs) * theirs
            pair = table.orders[order].caption[match.row] - offset[rows.caption[match.predicted]]
            dots = np.bincount(pair, products, len(prediction))
            dots = dots.astype(np.float64)  # without any match, bincount returns integers
            scale = norms[prediction] * self._norms[order][reference]
            similarity += np.divide(dots, scale, out=dots, where=scale != 0)
        # The official scorer uses the number of bigrams as length: zero words and one word are equally long.
        difference = _bigrams(lengths)[prediction] - _bigrams(table.lengths)[reference]
        similarity *= np.exp(-(difference**2) / (2 * SIGMA**2))
        sums = np.bincount(prediction, similarity, len(lengths))
        return 10 * sums / ORDERS / references


def _bigrams(lengths: Ints) -> Ints:
    return np.maximum(0, lengths - 1)

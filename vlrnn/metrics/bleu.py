"""BLEU-1..4 as the official caption scorer computes it (Papineni et al., ACL 2002, sections 2.1 to 2.3)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlrnn.metrics.ngrams import ORDERS, Ints, NgramCounts
from vlrnn.metrics.references import ReferenceTable

Floats = NDArray[np.float64]

BLEU_NAMES = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4")

# The official scorer's guards against division by zero. They change the tenth digit of a score, and the score of a
# caption with fewer than four words entirely, so they are part of the definition.
_SMALL, _TINY = 1e-9, 1e-15


class BleuStatistics(NamedTuple):
    """Statistics of each image; BLEU of a corpus, or of a resampled set, is computed from their sums."""

    correct: Ints  # [images, 4], n-grams that are also in a reference, clipped
    total: Ints  # [images, 4], n-grams of the prediction
    length: Ints  # [images], words of the prediction
    reference_length: Ints  # [images], words of the reference closest in length, of two equally close the shorter


def bleu_statistics(table: ReferenceTable, counts: list[NgramCounts], lengths: Ints) -> BleuStatistics:
    """The statistics of predictions.

    Args:
        table: the counted references.
        counts: the n-grams of the predictions by order, one prediction per image of the table.
        lengths: [images], numbers of words.
    """
    images = len(lengths)
    correct = np.zeros((images, ORDERS), np.int64)
    for order in range(ORDERS):
        rows = counts[order]
        clipped = np.minimum(rows.times, table.largest_counts(order, rows))
        correct[:, order] = np.bincount(rows.caption, clipped, images)
    total = np.maximum(0, lengths[:, None] - np.arange(ORDERS))
    distance_then_length = (np.abs(table.lengths - lengths[table.image_index]) << 32) + table.lengths
    firsts = np.cumsum(table.references_per_image) - table.references_per_image
    closest = np.minimum.reduceat(distance_then_length, firsts) & 0xFFFFFFFF
    return BleuStatistics(correct, total, lengths, closest)


def bleu(
    correct: Floats | Ints, total: Floats | Ints, length: Floats | Ints, reference_length: Floats | Ints
) -> Floats:
    """BLEU-1..4 in 0..1 from statistics, summed over a corpus or of single images.

    Args:
        correct, total: [..., 4].
        length, reference_length: [...].

    Returns:
        [..., 4].
    """
    precision = (correct + _TINY) / (total + _SMALL)
    means: Floats = np.cumprod(precision, axis=-1) ** (1 / np.arange(1, ORDERS + 1))
    ratio = (length + _TINY) / (reference_length + _SMALL)
    brevity_penalty = np.exp(np.minimum(0, 1 - 1 / ratio))
    return means * brevity_penalty[..., None]

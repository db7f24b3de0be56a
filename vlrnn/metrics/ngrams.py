"""N-grams as numbers, so that whole corpora are counted by sorting. Knows words and captions, no metric."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

ORDERS = 4
"""BLEU and CIDEr both look at n-grams of one to four words."""

_STRIDE = 1 << 32
"""Two numbers below 2^32 make one sortable key."""


class NgramCounts(NamedTuple):
    """The n-grams of one order, one row per distinct n-gram of a caption, sorted by caption, then n-gram."""

    caption: Ints  # [rows]
    ngram: Ints  # [rows]
    count: Ints  # [rows]


def pair_key(first: Ints, second: Ints) -> Ints:
    """One sortable number for two numbers in 0 .. 2^32 - 1."""
    return first * _STRIDE + second


class NgramIndex:
    """Numbers for the n-grams of a corpus; n-grams from elsewhere are numbered behind them, anew at every count.

    Args:
        captions: the corpus, each caption a list of words. It is gone through twice.
    """

    def __init__(self, captions: Sequence[Sequence[str]]) -> None:
        self._words: dict[str, int] = {}
        self._known: list[Ints] = []
        tokens, lengths = self._number_words(captions, self._words)
        previous = tokens
        for order in range(2, ORDERS + 1):
            starts = _starts(lengths, order)
            keys, numbers = np.unique(pair_key(previous[starts], tokens[starts + order - 1]), return_inverse=True)
            self._known.append(keys)
            previous = np.zeros(len(tokens), np.int64)
            previous[starts] = numbers

    def size(self, order: int) -> int:
        """How many different n-grams of this order the corpus has."""
        return len(self._words) if order == 1 else len(self._known[order - 2])

    def count(self, captions: Sequence[Sequence[str]]) -> list[NgramCounts]:
        """The n-grams of captions, by order. N-grams that the corpus lacks get numbers from `size(order)` on."""
        tokens, lengths = self._number_words(captions, dict(self._words))
        caption_of = np.repeat(np.arange(len(lengths)), lengths)
        counts = [_count_rows(caption_of, tokens)]
        previous = tokens
        for order, known in enumerate(self._known, start=2):
            starts = _starts(lengths, order)
            numbers = _look_up(known, pair_key(previous[starts], tokens[starts + order - 1]))
            counts.append(_count_rows(caption_of[starts], numbers))
            previous = np.zeros(len(tokens), np.int64)
            previous[starts] = numbers
        return counts

    @staticmethod
    def _number_words(captions: Iterable[Sequence[str]], words: dict[str, int]) -> tuple[Ints, Ints]:
        lengths = np.fromiter(map(len, captions), np.int64)
        total = int(lengths.sum())
        numbers = (words.setdefault(word, len(words)) for word in chain.from_iterable(captions))
        return np.fromiter(numbers, np.int64, total), lengths


def _starts(lengths: Ints, order: int) -> Ints:
    """Where n-grams of this order begin in the words of all captions, laid end to end."""
    ends = np.repeat(np.cumsum(lengths), lengths)
    positions = np.arange(len(ends))
    return positions[positions + order <= ends]


def _look_up(known: Ints, keys: Ints) -> Ints:
    numbers = np.searchsorted(known, keys)
    new = np.ones(len(keys), bool)
    inside = numbers < len(known)
    new[inside] = known[numbers[inside]] != keys[inside]
    numbers[new] = len(known) + np.unique(keys[new], return_inverse=True)[1]
    return numbers


def _count_rows(caption_of: Ints, numbers: Ints) -> NgramCounts:
    keys, counts = np.unique(pair_key(caption_of, numbers), return_counts=True)
    return NgramCounts(*np.divmod(keys, _STRIDE), counts)

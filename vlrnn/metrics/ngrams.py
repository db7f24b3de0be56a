"""N-grams as integers, so that whole corpora are counted by sorting."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
SmallInts = NDArray[np.int32]

ORDERS = 4
"""Largest order of the n-grams of BLEU and CIDEr."""

_STRIDE = 1 << 32
"""Bits of a number in a key of two numbers."""


class NgramCounts(NamedTuple):
    """The n-grams of one order, one row per distinct n-gram of a caption, sorted by caption, then n-gram."""

    caption: Ints  # [rows]
    ngram: Ints  # [rows]
    times: SmallInts  # [rows]

    def part(self, rows: slice) -> "NgramCounts":
        """Some of the rows."""
        return NgramCounts(self.caption[rows], self.ngram[rows], self.times[rows])


def pair_key(first: Ints, second: Ints) -> Ints:
    """One sortable number for two numbers in 0 .. 2^32 - 1."""
    return first * _STRIDE + second


class _Numbers(dict[str, int]):
    """Numbers words in the order of their first lookup."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class NgramIndex:
    """Numbers of the n-grams of a corpus, made by `NgramIndex.of`; other n-grams get larger numbers, which are valid
    for one call of `count`."""

    def __init__(self) -> None:
        self._words = _Numbers()
        self._keys: list[Ints] = []

    @classmethod
    def of(cls, captions: Sequence[Sequence[str]]) -> tuple["NgramIndex", list[NgramCounts]]:
        """The index of a corpus, each caption a list of words, and the n-grams of its captions, by order."""
        index = cls()
        return index, index._count(captions, index._words)

    def size(self, order: int) -> int:
        """The number of distinct n-grams of this order in the corpus."""
        return len(self._words) if order == 1 else len(self._keys[order - 2])

    def count(self, captions: Sequence[Sequence[str]]) -> list[NgramCounts]:
        """The n-grams of captions, by order. N-grams that are not in the corpus get numbers from `size(order)` on."""
        return self._count(captions, _Numbers(self._words))

    def _count(self, captions: Sequence[Sequence[str]], words: _Numbers) -> list[NgramCounts]:
        lengths = np.fromiter(map(len, captions), np.int64)
        tokens = np.fromiter(map(words.__getitem__, chain.from_iterable(captions)), np.int64, int(lengths.sum()))
        caption_of = np.repeat(np.arange(len(lengths)), lengths)
        counts = [_count_rows(caption_of, tokens)]
        previous = tokens
        for order in range(2, ORDERS + 1):
            starts = _starts(lengths, order)
            keys = pair_key(previous[starts], tokens[starts + order - 1])
            if len(self._keys) < order - 1:
                unique_keys, numbers = np.unique(keys, return_inverse=True)
                self._keys.append(unique_keys)
            else:
                numbers = _find_numbers(self._keys[order - 2], keys)
            counts.append(_count_rows(caption_of[starts], numbers))
            previous = np.zeros(len(tokens), np.int64)
            previous[starts] = numbers
        return counts


def _starts(lengths: Ints, order: int) -> Ints:
    """Start positions of the n-grams of this order in the concatenated words of all captions."""
    ends = np.repeat(np.cumsum(lengths), lengths)
    positions = np.arange(len(ends))
    return positions[positions + order <= ends]


def _find_numbers(sorted_keys: Ints, keys: Ints) -> Ints:
    numbers = np.searchsorted(sorted_keys, keys)
    new = np.ones(len(keys), bool)
    inside = numbers < len(sorted_keys)
    new[inside] = sorted_keys[numbers[inside]] != keys[inside]
    numbers[new] = len(sorted_keys) + np.unique(keys[new], return_inverse=True)[1]
    return numbers


def _count_rows(caption_of: Ints, numbers: Ints) -> NgramCounts:
    keys, counts = np.unique(pair_key(caption_of, numbers), return_counts=True)
    return NgramCounts(*np.divmod(keys, _STRIDE), counts.astype(np.int32))

"""N-grams as integers, so that whole corpora are counted by sorting; and tables of those of references."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
SmallInts = NDArray[np.int32]
Tokens = Sequence[str]

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
                numbers, found = _find(self._keys[order - 2], keys)
                numbers[~found] = self.size(order) + np.unique(keys[~found], return_inverse=True)[1]
            counts.append(_count_rows(caption_of[starts], numbers))
            previous = np.zeros(len(tokens), np.int64)
            previous[starts] = numbers
        return counts


def _starts(lengths: Ints, order: int) -> Ints:
    """Start positions of the n-grams of this order in the concatenated words of all captions."""
    ends = np.repeat(np.cumsum(lengths), lengths)
    positions = np.arange(len(ends))
    return positions[positions + order <= ends]


def _find(sorted_keys: Ints, keys: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """The place of each key, and whether it is one of the sorted keys."""
    places = np.searchsorted(sorted_keys, keys)
    found = np.zeros(len(keys), bool)
    inside = places < len(sorted_keys)
    found[inside] = sorted_keys[places[inside]] == keys[inside]
    return places, found


def _count_rows(caption_of: Ints, numbers: Ints) -> NgramCounts:
    keys, counts = np.unique(pair_key(caption_of, numbers), return_counts=True)
    return NgramCounts(*np.divmod(keys, _STRIDE), counts.astype(np.int32))


class OrderTable(NamedTuple):
    """The n-grams of one order in the references: a row per distinct n-gram of a caption, sorted by image and
    n-gram."""

    key: Ints  # [rows], image and n-gram
    caption: SmallInts  # [rows]
    times: SmallInts  # [rows]
    group_key: Ints  # [groups], the distinct keys
    group_max: SmallInts  # [groups], the largest count in one reference
    frequency: Ints  # [n-grams of the index], number of documents of the corpus with the n-gram


class ReferenceTable:
    """Counted references.

    Args:
        references: for each image its tokenized references, at least one.
        corpus: the tokenized references of each image of another corpus for the document frequencies; by default
            `references`.
    """

    def __init__(
        self, references: Sequence[Sequence[Tokens]], corpus: Sequence[Sequence[Tokens]] | None = None
    ) -> None:
        captions = list(chain.from_iterable(references))
        others = list(chain.from_iterable(corpus or ()))
        self.references_per_image, self.image_index = _groups(references)
        self.lengths: Ints = np.fromiter(map(len, captions), np.int64)
        self.index, all_counts = NgramIndex.of(captions + others)
        self.documents = len(references) if corpus is None else len(corpus)
        document_of = self.image_index if corpus is None else _groups(corpus)[1]
        self.orders: list[OrderTable] = []
        while all_counts:  # frees the memory of each order, 50 MB for COCO
            counts = all_counts.pop(0)
            end = int(np.searchsorted(counts.caption, len(captions)))
            own, rest = counts.part(slice(end)), counts.part(slice(end, None))
            documents = own if corpus is None else rest._replace(caption=rest.caption - len(captions))
            self.orders.append(self._tabulate(own, document_of, documents, self.index.size(len(self.orders) + 1)))

    def _tabulate(self, counts: NgramCounts, document_of: Ints, documents: NgramCounts, size: int) -> OrderTable:
        keys = pair_key(self.image_index[counts.caption], counts.ngram)
        order = np.argsort(keys, kind="stable")
        keys, times = keys[order], counts.times[order]
        firsts = _first_of_runs(keys)
        group_max = np.maximum.reduceat(times, firsts) if len(firsts) else times
        in_documents = np.sort(pair_key(documents.ngram, document_of[documents.caption]))
        ngrams, _ = np.divmod(in_documents[_first_of_runs(in_documents)], 1 << 32)
        frequency = np.bincount(ngrams, minlength=size)
        return OrderTable(keys, counts.caption[order].astype(np.int32), times, keys[firsts], group_max, frequency)

    def largest_counts(self, order: int, predicted: NgramCounts) -> Ints:
        """For each predicted n-gram its largest count in a reference of the image."""
        table = self.orders[order]
        keys = pair_key(predicted.caption, predicted.ngram)
        groups, found = _find(table.group_key, keys)
        largest = np.zeros(len(keys), np.int64)
        largest[found] = table.group_max[groups[found]]
        return largest

    def matches(self, order: int, predicted: NgramCounts) -> tuple[Ints, Ints]:
        """Every pair of a predicted n-gram with the same n-gram in a reference of its image: their rows in the
        predicted counts [pairs], and in the table [pairs]."""
        table = self.orders[order]
        keys = pair_key(predicted.caption, predicted.ngram)
        first = np.searchsorted(table.key, keys, "left")
        repeats = np.searchsorted(table.key, keys, "right") - first
        rows = np.repeat(first - np.cumsum(repeats) + repeats, repeats) + np.arange(repeats.sum())
        return np.repeat(np.arange(len(keys)), repeats), rows

    def weights(self, order: int, ngrams: Ints) -> NDArray[np.float64]:
        """The inverse document frequency of n-grams: log(documents) - log(max(1, documents with the n-gram))."""
        frequency = self.orders[order].frequency
        documents = np.zeros(len(ngrams), np.int64)
        inside = ngrams < len(frequency)
        documents[inside] = frequency[ngrams[inside]]
        return np.log(self.documents) - np.log(np.maximum(1, documents))


def _groups(groups: Sequence[Sequence[Tokens]]) -> tuple[Ints, Ints]:
    """The number of captions of each image, and the image of each caption."""
    sizes: Ints = np.fromiter(map(len, groups), np.int64)
    return sizes, np.repeat(np.arange(len(groups)), sizes)


def _first_of_runs(values: Ints) -> Ints:
    """The first position of each distinct value in sorted values."""
    return np.flatnonzero(np.diff(values, prepend=-1))

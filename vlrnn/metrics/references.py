"""The n-grams of references as tables for BLEU and CIDEr; built once, used at every epoch."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlrnn.metrics.ngrams import Ints, NgramCounts, NgramIndex, SmallInts, pair_key

Tokens = Sequence[str]


class OrderTable(NamedTuple):
    """The n-grams of one order in the references: a row per distinct n-gram of a caption, sorted by image and
    n-gram."""

    key: Ints  # [rows], image and n-gram
    caption: SmallInts  # [rows]
    times: SmallInts  # [rows]
    group_key: Ints  # [groups], the distinct keys
    group_max: SmallInts  # [groups], the largest count in one reference
    frequency: Ints  # [n-grams of the index], number of documents of the corpus with the n-gram


class Matches(NamedTuple):
    """Pairs of a predicted n-gram and the same n-gram in a reference of the same image."""

    predicted: Ints  # [pairs], row in the predicted counts
    row: Ints  # [pairs], row in the table


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
        spots = np.searchsorted(table.group_key, keys)
        found = np.zeros(len(keys), bool)
        inside = spots < len(table.group_key)
        found[inside] = table.group_key[spots[inside]] == keys[inside]
        largest = np.zeros(len(keys), np.int64)
        largest[found] = table.group_max[spots[found]]
        return largest

    def matches(self, order: int, predicted: NgramCounts) -> Matches:
        """Every pair of a predicted n-gram with the same n-gram in a reference of its image."""
        table = self.orders[order]
        keys = pair_key(predicted.caption, predicted.ngram)
        first = np.searchsorted(table.key, keys, "left")
        repeats = np.searchsorted(table.key, keys, "right") - first
        rows = np.repeat(first - np.cumsum(repeats) + repeats, repeats) + np.arange(repeats.sum())
        return Matches(np.repeat(np.arange(len(keys)), repeats), rows)

    def weights(self, order: int, ngrams: Ints) -> NDArray[np.float64]:
        """The inverse document frequency of n-grams: log(documents) - log(max(1, documents with the n-gram))."""
        frequency = self.orders[order].frequency
        documents = np.zeros(len(ngrams), np.int64)
        inside = ngrams < len(frequency)
        documents[inside] = frequency[ngrams[inside]]
        weights: NDArray[np.float64] = np.log(self.documents) - np.log(np.maximum(1, documents))
        return weights


def _groups(groups: Sequence[Sequence[Tokens]]) -> tuple[Ints, Ints]:
    """The number of captions of each image, and the image of each caption."""
    sizes: Ints = np.fromiter(map(len, groups), np.int64)
    return sizes, np.repeat(np.arange(len(groups)), sizes)


def _first_of_runs(values: Ints) -> Ints:
    """The first position of each distinct value in sorted values."""
    changes: Ints = np.flatnonzero(np.diff(values, prepend=-1))
    return changes

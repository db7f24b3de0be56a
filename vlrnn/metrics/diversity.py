"""Diversity of captions, and frequent defects of generated text. All functions take the tokens of captions."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

import numpy as np

from vlrnn.metrics.bleu import BLEU_NAMES, bleu, bleu_statistics
from vlrnn.metrics.ngrams import NgramIndex
from vlrnn.metrics.references import ReferenceTable, Tokens

FUNCTION_WORDS = frozenset(
    """a an the and or but of in on at to from with by for as than that which who whose is are was were be
    been being has have had its his her their this these those some very while next into onto over under near
    between through behind above below beside along around across""".split()  # noqa: SIM905
)
"""Words with which no caption should end: articles, conjunctions, prepositions, auxiliaries. Our own list."""


def distinct(captions: Sequence[Tokens], order: int) -> float:
    """distinct-n: number of distinct n-grams divided by that of all n-grams, 0..1 (Li et al., NAACL 2016, section
    5)."""
    rows = NgramIndex.of(captions)[1][order - 1]
    total = int(rows.times.sum())
    return len(np.unique(rows.ngram)) / total if total else 0.0


def mutual_bleu(sets: Sequence[Sequence[Tokens]]) -> float:
    """mBLEU-4: the mean BLEU-4 of each caption of an image against the other captions of that image, 0..1; lower is
    more diverse (Shetty et al., ICCV 2017, section 5.1).

    Args:
        sets: for each image, at least two captions by the same model.
    """
    captions = [caption for group in sets for caption in group]
    others = [[other for j, other in enumerate(group) if j != i] for group in sets for i in range(len(group))]
    table = ReferenceTable(others)
    lengths = np.fromiter(map(len, captions), np.int64)
    scores = bleu(*bleu_statistics(table, table.index.count(captions), lengths))
    return float(scores[:, BLEU_NAMES.index("Bleu_4")].mean())


def repeats_ngram(tokens: Tokens, order: int) -> bool:
    """Whether an n-gram occurs twice in a caption."""
    ngrams = Counter(zip(*(tokens[start:] for start in range(order)), strict=False))
    return any(count > 1 for count in ngrams.values())


def repeats_word(tokens: Tokens) -> bool:
    """Whether a word occurs twice in a row."""
    return any(word == following for word, following in pairwise(tokens))


def ends_badly(tokens: Tokens) -> bool:
    """Whether a caption ends with a function word."""
    return bool(tokens) and tokens[-1] in FUNCTION_WORDS


def caption_health(captions: Sequence[Tokens], training: Iterable[Tokens] | None = None) -> dict[str, float | int]:
    """Measures of a set of captions, one per image.

    Args:
        captions: their tokens, at least one caption.
        training: the tokens of the training captions, for `novel`.

    Returns:
        `distinct_1`, `distinct_2`; `vocabulary`, the number of distinct words; `mean_length` in words; and as fractions
        of the captions: `distinct_captions`, `empty`, `ends_badly` (with a function word), `repeated_word` (twice in a
        row), `repeated_trigram` (anywhere), `novel` (no training caption).
    """
    texts = [tuple(caption) for caption in captions]
    health: dict[str, float | int] = {
        "distinct_1": distinct(captions, 1),
        "distinct_2": distinct(captions, 2),
        "vocabulary": len({word for text in texts for word in text}),
        "mean_length": sum(map(len, texts)) / len(texts),
        "distinct_captions": len(set(texts)) / len(texts),
        "empty": _share(not text for text in texts),
        "ends_badly": _share(map(ends_badly, texts)),
        "repeated_word": _share(map(repeats_word, texts)),
        "repeated_trigram": _share(repeats_ngram(text, 3) for text in texts),
    }
    if training is not None:
        training_set: Collection[tuple[str, ...]] = set(map(tuple, training))
        health["novel"] = _share(text not in training_set for text in texts)
    return health


def _share(answers: Iterable[bool]) -> float:
    values = list(answers)
    return sum(values) / len(values)

"""ROUGE-L and CIDEr-D written out literally and slowly, as the definitions read, for the tests to hold the
fast ones to."""

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.metrics import score_captions
from vlrnn.metrics.caption_measures import longest_common_subsequences

texts = st.lists(
    st.sampled_from(["a", "man", "dog", "rides", "the", "red", "on", "big", "board", "surf"]), max_size=12
).map(" ".join)
corpora = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=4)), min_size=2, max_size=6)
Corpus = list[tuple[str, list[str]]]
Words = Sequence[str]


def common_length(first: Words, second: Words) -> int:
    lengths = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            lengths[i + 1][j + 1] = lengths[i][j] + 1 if one == other else max(lengths[i][j + 1], lengths[i + 1][j])
    return lengths[-1][-1]


@pytest.mark.parametrize("sizes", [[3] * 2000, [5000, 2, 4095, 4096, 1], [0, 4096, 0], []])
def test_common_subsequences_of_many_and_of_long_texts(sizes: list[int]) -> None:
    """They are compared in blocks."""
    words = ["a", "man", "rides"]
    texts = [[words[(place + size) % 3] for place in range(size)] for size in sizes]
    assert longest_common_subsequences(words, texts) == [common_length(words, text) for text in texts]


def rouge_l(prediction: Words, references: Sequence[Words]) -> float:
    prediction = prediction or [""]
    references = [reference or [""] for reference in references]
    common = [common_length(prediction, reference) for reference in references]
    precision = max(length / len(prediction) for length in common)
    recall = max(length / len(reference) for length, reference in zip(common, references, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)


def cider_d(predictions: Sequence[Words], references: Sequence[Sequence[Words]]) -> list[float]:
    def counts(words: Words, n: int) -> Counter[tuple[str, ...]]:
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    def vector(words: Words, n: int) -> dict[tuple[str, ...], float]:
        return {
            ngram: count * (math.log(len(references)) - math.log(max(1, documents[n][ngram])))
            for ngram, count in counts(words, n).items()
        }

    documents: dict[int, Counter[tuple[str, ...]]] = {n: Counter() for n in range(1, 5)}
    for n, found in documents.items():
        for texts in references:
            found.update({ngram for text in texts for ngram in counts(text, n)})
    scores = []
    for prediction, texts in zip(predictions, references, strict=True):
        total = 0.0
        for text in texts:
            apart = max(0, len(prediction) - 1) - max(0, len(text) - 1)
            for n in range(1, 5):
                ours, theirs = vector(prediction, n), vector(text, n)
                dot = sum(min(ours[ngram], theirs[ngram]) * theirs[ngram] for ngram in ours.keys() & theirs.keys())
                norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
                total += (dot / norms if norms else 0.0) * math.exp(-(apart**2) / (2 * 6.0**2))
        scores.append(10 * total / 4 / len(texts))
    return scores


@given(corpora)
def test_rouge_l_and_cider_d_are_the_literal_ones(corpus: Corpus) -> None:
    by_place = {place: prediction for place, (prediction, _) in enumerate(corpus)}
    scores = score_captions(by_place, {place: references for place, (_, references) in enumerate(corpus)})
    predictions = [prediction.split() for prediction, _ in corpus]
    references = [[text.split() for text in group] for _, group in corpus]
    rouge = [rouge_l(words, group) for words, group in zip(predictions, references, strict=True)]
    assert scores.per_image["ROUGE_L"] == pytest.approx(rouge, abs=1e-12)
    assert scores.per_image["CIDEr"] == pytest.approx(cider_d(predictions, references), abs=1e-9)
    assert scores.corpus["CIDEr"] == pytest.approx(sum(scores.per_image["CIDEr"]) / len(corpus))


@given(
    st.lists(st.sampled_from("abcd"), max_size=80),
    st.lists(st.lists(st.sampled_from("abcd"), max_size=80), min_size=1),
)
def test_common_subsequences_of_all_texts_at_once(words: list[str], others: list[list[str]]) -> None:
    expected = [common_length(words, text) for text in others]
    assert longest_common_subsequences(words, others) == expected

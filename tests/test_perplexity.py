"""Bits per character and perplexity, against their definitions; and the counts that a model is to be better than."""

import math
import random
from collections import Counter

import pytest

from vlrnn.data.records import Prediction
from vlrnn.metrics.perplexity import ngram_bits, score_text


def passage(text: str, *log_probs: float) -> Prediction:
    return Prediction(text, text, text, tuple(text.split()), log_probs)


def test_the_definitions() -> None:
    passages = [passage("a b", -math.log(2), -math.log(2)), passage("abcdefgh i", -math.log(8), -math.log(2))]
    scores = score_text(passages)
    assert scores["bits_per_character"]["value"] == pytest.approx((1 + 1 + 3 + 1) / (3 + 10))
    assert scores["bits_per_character"]["n"] == 13
    assert scores["perplexity"]["value"] == pytest.approx(2 ** (6 / 4))
    assert scores["perplexity"]["n"] == 4
    for score in scores.values():
        assert score["low"] <= score["value"] <= score["high"]


@pytest.mark.parametrize("size", [2, 7, 100])
def test_who_guesses_among_all_needs_the_logarithm_of_their_number(size: int) -> None:
    scores = score_text([Prediction(n, n, "x" * 50, ("x",) * 50, (-math.log(size),) * 50) for n in range(3)])
    assert scores["bits_per_character"]["value"] == pytest.approx(math.log2(size))
    assert scores["perplexity"]["value"] == pytest.approx(size)
    assert scores["perplexity"]["low"] == pytest.approx(scores["perplexity"]["high"])


def test_what_is_sure_and_wrong_is_still_a_number() -> None:
    assert math.isfinite(score_text([passage("a", -1e6), passage("b", -1e6)])["perplexity"]["high"])


def test_long_counts_come_to_the_entropy() -> None:
    """Of a text that is drawn symbol by symbol, that of the draw; of one that alternates, nothing from the second
    order on."""
    draw = random.Random(0)
    train, test = (draw.choices("abc", (1, 2, 5), k=20_000) for _ in range(2))
    entropy = -sum(p * math.log2(p) for p in (1 / 8, 2 / 8, 5 / 8))
    for order in (1, 2):
        assert ngram_bits(train, test, order) == pytest.approx(entropy, abs=0.03)
    assert ngram_bits("ab" * 500, "ab" * 100, 1) == pytest.approx(1, abs=0.01)
    assert ngram_bits("ab" * 500, "ab" * 100, 2) < 0.05


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_are_shared_out(order: int) -> None:
    """Over all symbols, one that train has not among them, they come to one, behind whatever was said."""
    train = "abracadabra"
    for before in ("", "a", "ab", "zz"):
        shares = []
        for symbol in "abcdr?":
            bits = ngram_bits(train, before + symbol, order) * (len(before) + 1)
            bits -= ngram_bits(train, before, order) * len(before) if before else 0
            shares.append(2**-bits)
        assert sum(shares) == pytest.approx(1)


def test_the_unigram_by_hand() -> None:
    counts = Counter("aab")
    likely = {symbol: (counts[symbol] + 2 / 3) / (3 + 2) for symbol in "ab?"}
    assert ngram_bits("aab", "ab?", 1) == pytest.approx(-sum(math.log2(likely[each]) for each in "ab?") / 3)

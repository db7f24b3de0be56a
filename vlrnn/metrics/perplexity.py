"""Scores of language models: bits per character and perplexity, from the log probability of each unit.

Sources: Shannon, Prediction and entropy of printed English, 1951; Jelinek et al. 1977, for perplexity.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from vlrnn.data.records import Prediction
from vlrnn.metrics.statistics import Floats, Ratio, Resampler, ratios


def score_text(passages: Sequence[Prediction], resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """The scores of a text in passages, each with its `text`, `tokens` and `log_probs`.

    `bits_per_character` is the sum of -log2 p divided by the number of characters of the text, so that models of words
    and of characters are comparable. `perplexity` is exp of the mean -log p of a unit. Intervals are by the bootstrap
    over passages, which are long compared with most dependencies between units (block bootstrap: Kunsch 1989).
    """
    nats = np.array([-sum(each.log_probs) for each in passages])
    units = np.array([len(each.log_probs) for each in passages])
    characters = np.array([len(each.text) for each in passages])
    parts = {"bits_per_character": Ratio(nats / math.log(2), characters), "perplexity": Ratio(nats, units)}
    scores = ratios(parts, Resampler(len(passages), resamples, seed))
    mean = scores["perplexity"]
    # exp overflows beyond 700
    scores["perplexity"] = mean | {name: math.exp(min(mean[name], 700.0)) for name in ("value", "low", "high")}
    return scores


def bits_per_character(passages: Sequence[Prediction]) -> Floats:
    """The bits per character of each passage [passages], see `score_text`; 0 of one without characters."""
    return np.array([-sum(each.log_probs) / math.log(2) / max(1, len(each.text)) for each in passages])


def ngram_bits(train: Sequence[str], test: Sequence[str], order: int) -> float:
    """Bits per unit of `test` under an n-gram model counted on `train`: a baseline for language models.

    The probability of a unit is interpolated with that of the next shorter context by the weights of Witten and Bell
    (1991), down to the uniform distribution over the units of train and one unknown unit.

    Args:
        train, test: units in their order.
        order: 1 for the unigram, 2 for the bigram, ...
    """
    num_units = len(set(train)) + 1
    contexts: list[dict[tuple[str, ...], Counter[str]]] = [{} for _ in range(order)]
    for length, counts in enumerate(contexts):
        for place in range(length, len(train)):
            counts.setdefault(tuple(train[place - length : place]), Counter())[train[place]] += 1
    totals = [{context: each.total() for context, each in counts.items()} for counts in contexts]
    bits = 0.0
    for place, unit in enumerate(test):
        probability = 1 / num_units
        for length in range(min(order, place + 1)):
            context = tuple(test[place - length : place])
            if (following := contexts[length].get(context)) is None:
                break
            probability = (following[unit] + len(following) * probability) / (totals[length][context] + len(following))
        bits -= math.log2(probability)
    return bits / len(test)

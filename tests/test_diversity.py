"""Diversity and health, on captions whose answers can be counted by hand."""

import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from vlrnn.metrics.caption_evaluation import caption_health, distinct, mutual_bleu


def words(*captions: str) -> list[list[str]]:
    return [caption.split() for caption in captions]


def test_distinct_counts_ngrams_of_all_captions() -> None:
    captions = words("a man", "a dog")
    assert distinct(captions, 1) == 3 / 4
    assert distinct(captions, 2) == 1
    assert distinct(words(""), 1) == 0


def test_health_of_captions() -> None:
    captions = words("a man on a", "a a dog", "", "a dog runs a dog runs", "a man on a")
    health = caption_health(captions, training=words("a a dog", "something else"))
    assert health["vocabulary"] == 5
    assert health["mean_length"] == pytest.approx(17 / 5)
    assert health["empty"] == 1 / 5
    assert health["ends_badly"] == 2 / 5
    assert health["repeated_word"] == 1 / 5
    assert health["repeated_trigram"] == 1 / 5
    assert health["distinct_captions"] == 4 / 5
    assert health["novel"] == 4 / 5


def test_without_training_captions_nothing_is_called_new() -> None:
    assert "novel" not in caption_health(words("a man"))


def test_mutual_bleu_is_the_mean_of_each_against_the_others() -> None:
    sets = [words("a man rides a horse", "a man rides a big horse", "the man on a horse there")]
    each = [
        sentence_bleu(
            [other for other in sets[0] if other is not caption],
            caption,
            smoothing_function=SmoothingFunction().method0,
        )
        for caption in sets[0][:2]
    ]
    assert mutual_bleu(sets) == pytest.approx(sum(each) / 3, abs=1e-4)  # the third shares no n-gram of four words
    assert mutual_bleu([words("a man rides a horse", "a man rides a horse")]) == pytest.approx(1)

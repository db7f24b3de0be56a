"""BLEU, ROUGE-L and CIDEr-D are the official scorer's, and hold against literal implementations and
nltk's."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import corpus_bleu

from vlrnn.data.formats.captions import read_predictions, read_references
from vlrnn.data.matching import match
from vlrnn.errors import UserError
from vlrnn.metrics import CaptionScorer, score_captions

DATA = os.environ.get("VLRNN_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="VLRNN_DATA, the data folder, is not set")

texts = st.lists(
    st.sampled_from(["a", "man", "dog", "rides", "the", "red", "on", "big", "board", "surf"]), max_size=12
).map(" ".join)
corpora = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=4)), min_size=2, max_size=6)
Corpus = list[tuple[str, list[str]]]


def as_mappings(corpus: Corpus) -> tuple[dict[int | str, str], dict[int | str, list[str]]]:
    predictions: dict[int | str, str] = {place: prediction for place, (prediction, _) in enumerate(corpus)}
    return predictions, {place: references for place, (_, references) in enumerate(corpus)}


@needs_data
def test_scores_are_the_official_ones() -> None:
    folder = Path(str(DATA)) / "metrics"
    expected = json.loads((folder / "expected_scores.json").read_text())["captioning"]
    matched = match(
        read_predictions(folder / expected["predictions"]), read_references(folder / expected["references"])
    )
    scorer = CaptionScorer(matched.references)
    scores = scorer.score({id: each.text for id, each in matched.predictions.items()})
    assert len(scores) == 5000
    assert scores.settings["references"] == 25_014
    for name, value in scores.corpus.items():
        assert value == pytest.approx(expected["expected"][name], abs=1e-9), name


@given(st.lists(st.tuples(texts.filter(lambda text: len(text.split()) >= 4), st.lists(texts, min_size=1)), min_size=2))
def test_bleu_is_nltks(corpus: Corpus) -> None:
    """On captions of four words and more: in shorter ones nltk counts an n-gram that is not there."""
    scores = score_captions(*as_mappings(corpus)).corpus
    predictions = [prediction.split() for prediction, _ in corpus]
    references = [[text.split() for text in group] for _, group in corpus]
    for n in range(1, 5):
        if scores[f"Bleu_{n}"] > 1e-3:  # nltk says 0 where no n-gram matches, the official scorer next to nothing
            nltk = corpus_bleu(references, predictions, weights=[1 / n] * n)
            assert scores[f"Bleu_{n}"] == pytest.approx(nltk, abs=1e-6)


@given(corpora)
def test_the_order_of_images_does_not_matter(corpus: Corpus) -> None:
    forward, backward = (score_captions(*as_mappings(each)) for each in (corpus, corpus[::-1]))
    assert forward.corpus == pytest.approx(backward.corpus)


@given(corpora)
def test_scores_keep_their_bounds_and_a_scorer_can_be_used_again(corpus: Corpus) -> None:
    predictions, references = as_mappings(corpus)
    scorer = CaptionScorer(references)
    scores, again = scorer.score(predictions), scorer.score(predictions)
    assert scores.corpus == again.corpus == score_captions(predictions, references).corpus
    for name, values in scores.per_image.items():
        assert values.min() >= 0
        assert values.max() <= (10 if name == "CIDEr" else 1) + 1e-6


def test_a_reference_itself_scores_one() -> None:
    references = {1: ["a man rides a red horse"], 2: ["two dogs play with some ball"]}
    scores = score_captions({id: texts[0] for id, texts in references.items()}, references).corpus
    assert scores["Bleu_4"] == pytest.approx(1)
    assert scores["ROUGE_L"] == pytest.approx(1)
    assert scores["CIDEr"] == pytest.approx(10)


def test_fractions_are_one_token_for_rouge_and_two_for_bleu() -> None:
    references = {1: ["2 1/2 cups"], 2: ["a man"]}
    scores = score_captions({1: "1/2", 2: "a man"}, references)
    assert scores.per_image["Bleu_1"][0] > 0
    assert scores.per_image["ROUGE_L"][0] == 0


def test_document_frequencies_of_another_corpus() -> None:
    references = {1: ["a man rides"], 2: ["a dog runs"]}
    predictions = {1: "a man runs", 2: "a dog runs"}
    own = CaptionScorer(references).score(predictions)
    same = CaptionScorer(references, corpus=references).score(predictions)
    larger = CaptionScorer(references, corpus={**references, 3: ["a man"], 4: ["a man sits"]}).score(predictions)
    assert same.corpus == own.corpus
    assert larger.corpus["CIDEr"] != own.corpus["CIDEr"]
    assert larger.corpus["Bleu_4"] == own.corpus["Bleu_4"]


def test_one_image_is_too_few_for_cider() -> None:
    with pytest.raises(UserError, match="two images"):
        score_captions({1: "a man"}, {1: ["a man"]})


@pytest.mark.parametrize(
    ("predictions", "references", "complaint"),
    [
        ({1: "a"}, {1: ["a"], 2: ["b"]}, "1 of 2 images have no prediction, the first is 2"),
        ({1: "a", 2: "b", 3: "c"}, {1: ["a"], 2: ["b"]}, "without references, the first is 3"),
        ({1: "a", 2: "b"}, {1: ["a"], 2: []}, "image 2 needs"),
        ({1: "a", 2: "b"}, {1: ["a"], 2: "b"}, "image 2 needs"),
    ],
)
def test_ids_must_match(predictions: dict[int, str], references: dict[int, list[str]], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        score_captions(predictions, references)  # type: ignore[arg-type]


def test_captions_without_words_score_nothing_and_break_nothing() -> None:
    scores = score_captions({1: "", 2: "..."}, {1: ["a man", "the man"], 2: ["", "a dog"]})
    assert scores.corpus["CIDEr"] == 0
    assert scores.per_image["ROUGE_L"].tolist() == [0.0, 1.0]


def test_one_image_with_many_references_takes_linear_time() -> None:
    """By the square of their number it would take hours."""
    many = [f"a man rides board {number}" for number in range(10_000)]
    scores = score_captions({1: many[7], 2: "two dogs"}, {1: many, 2: ["two dogs play"]})
    assert scores.per_image["ROUGE_L"][0] == 1
    assert scores.per_image["Bleu_4"][0] == pytest.approx(1)
    assert scores.notes == ()


@pytest.mark.parametrize("text", ["&a" * 8000, "a " * 24_000])
def test_endless_captions_are_scored_and_what_was_cut_is_reported(text: str) -> None:
    scores = score_captions({1: text, 2: "two dogs"}, {1: [text, "a man"], 2: ["two dogs play"]})
    assert scores.per_image["Bleu_4"][0] == pytest.approx(1)
    assert scores.per_image["ROUGE_L"][0] == pytest.approx(1)
    assert scores.notes == tuple(
        f"ROUGE_L: of 1 {name} only the first 10,000 tokens are compared" for name in ("predictions", "references")
    )


def test_an_endless_word_is_reported() -> None:
    scores = score_captions({1: "http://" + "a" * 5000, 2: "two dogs"}, {1: ["a man"], 2: ["two dogs play"]})
    assert scores.notes == ("1 predictions have words of 1,000 characters and more, which are split",)

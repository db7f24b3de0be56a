"""The closed set of answers, and what an answer is worth."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.errors import UserError
from vlrnn.text.vocabulary import AnswerPrior, AnswerVocabulary, majority, soft_score


@given(count=st.integers(0, 10), annotators=st.integers(2, 10))
def test_soft_scores_are_the_mean_over_those_who_leave_one_out(count: int, annotators: int) -> None:
    """The literal version: every annotator in turn is left out, and three who agree make an answer right."""
    count = min(count, annotators)
    gave = [True] * count + [False] * (annotators - count)
    left = [sum(others) for others in combinations(gave, annotators - 1)]
    assert soft_score(count, annotators) == pytest.approx(sum(min(1, agree / 3) for agree in left) / len(left))


def test_a_single_annotator_is_right() -> None:
    assert (soft_score(0, 1), soft_score(1, 1)) == (0, 1)


def test_the_prior_of_a_type() -> None:
    prior = AnswerPrior({"": {"red": 1}, "what": {"red": 1, "green": 1}})
    assert prior.overall == {"red": 2, "green": 1}
    assert (prior.of("what"), prior.of(None), prior.of("is")) == ({"red": 1, "green": 1}, {"red": 1}, prior.overall)
    with pytest.raises(UserError, match="no training question has an answer"):
        AnswerPrior({})


def test_the_most_frequent_are_chosen() -> None:
    counts = {"red": 2, "zebra": 1, "green": 1}
    assert AnswerVocabulary.top_answers(counts).answers == ("red", "green", "zebra")
    assert AnswerVocabulary.top_answers(counts, most=1).answers == ("red",)
    assert AnswerVocabulary.top_answers(counts, min_count=2).answers == ("red",)
    with pytest.raises(UserError, match="the set of answers is empty"):
        AnswerVocabulary.top_answers(counts, min_count=9)


def test_majority_and_counts() -> None:
    assert majority(["a", "b", "b"]) == "b"
    assert majority(["b", "a", "a", "b"]) == "b"
    answers = AnswerVocabulary(["a", "b"])
    assert answers.counts(["b", "c", "b", "a"]) == {1: 2, 0: 1}
    assert (answers.id("b"), answers.id("c"), "a" in answers, len(answers)) == (1, None, True, 2)
    with pytest.raises(UserError, match="'a' twice"):
        AnswerVocabulary(["a", "a"])

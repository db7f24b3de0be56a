"""Answer normalisation and its protocols: the official figures, a literal reading of the official rules, and laws."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.text.vqa_normalization import (
    PROTOCOLS,
    answer_to_tokens,
    canonical_answer,
    clean,
    items,
    normalize_answer,
    tokens_to_answer,
    without_punctuation,
)

MARKS = ';/[]"{}()=+\\_-><@`,?!'
TEXTS = st.text(st.sampled_from([*MARKS, *".,'\n\t aAthedonw10²"]), max_size=24)


@pytest.fixture(scope="session")
def expected(real_data: Path) -> dict:
    return json.loads((real_data / "metrics" / "vqa_accuracy_expected.json").read_text("utf-8"))


def test_normalisation_is_the_official_one(expected: dict) -> None:
    assert {answer: normalize_answer(answer) for answer in expected["normalise"]} == expected["normalise"]


EXAMPLES = [
    ("1,000 people!", "1000 people"),
    ("Yes, No", "yes no"),
    ("the red-ish U.S.A. flag", "red ish usa flag"),
    ("NONE", "0"),
    ("isnt\nTen 3.5 .5", "isn't 10 3.5 .5"),
    ("An a THE", ""),
    ("somebody'd", "somebodyd"),
    ("Im", "im"),
]


def test_examples(subtests: pytest.Subtests) -> None:
    for answer, normal in EXAMPLES:
        with subtests.test(answer=answer, normal=normal):
            assert normalize_answer(answer) == normal


def literal_punctuation(text: str) -> str:
    """The rules one mark after the other."""
    left = text
    for mark in MARKS:
        by_space = f"{mark} " in text or f" {mark}" in text
        left = left.replace(mark, "" if by_space or re.search(r"(\d)(,)(\d)", text) else " ")
    return re.sub(r"(?!<=\d)(\.)(?!\d)", "", left, count=int(re.UNICODE))


@given(TEXTS)
def test_punctuation_goes_as_mark_after_mark_requires(text: str) -> None:
    assert without_punctuation(text) == literal_punctuation(text)


def test_only_so_many_periods_go() -> None:
    assert without_punctuation("a" + "." * 40) == "a" + "." * 8


@given(TEXTS)
def test_what_is_normal_is_lower_case_words_a_space_apart(text: str) -> None:
    normal = normalize_answer(text)
    assert normal == normal.lower() == " ".join(normal.split())
    assert not {"a", "an", "the", "none", "ten"} & set(normal.split())
    assert normalize_answer(f"\t{text}\n ") == normal


def test_2021_normalises_all_or_none() -> None:
    official = PROTOCOLS["official-2021"]
    assert official(" Two.\n", ["two", " two"]) == ("Two.", ["two", "two"])
    assert official("Two.", ["two", "a cat!"]) == ("2", ["2", "cat"])


def test_2017_normalises_the_prediction_and_strips_punctuation_of_the_others() -> None:
    official = PROTOCOLS["official-2017"]
    assert official("Two.", ["two.", "two."]) == ("2", ["two.", "two."])
    assert official("Two.", ["two.", "A cat!"]) == ("2", ["two", "A cat "])


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=10))
def test_protocols_keep_every_annotator(answer: str, answers: list[str]) -> None:
    for protocol in PROTOCOLS.values():
        assert len(protocol(answer, answers)[1]) == len(answers)


def test_items_of_a_set() -> None:
    assert items("Chair,  table_lamp ,2") == ("chair", "table lamp", "2")
    assert items("") == ("",)
    assert clean("\ta\nb ") == "a b"


ANSWERS = [
    ("Chair, table_lamp", "chair, table lamp", ["chair", ",", "table", "lamp"]),
    ("two, the door", "2, door", ["2", ",", "door"]),
    ("1,000 people", "1000 people", ["1000", "people"]),
    ("the, chair", "chair", ["chair"]),
    ("don't know", "don't know", ["do", "n't", "know"]),
    ("", "", []),
]


def test_sets_are_decoded_whole(subtests: pytest.Subtests) -> None:
    for answer, canon, words in ANSWERS:
        with subtests.test(answer=answer, canon=canon, words=words):
            assert canonical_answer(answer) == canon
            assert answer_to_tokens(canon) == words
            assert tokens_to_answer(words) == canon


@given(st.text("ab c2DN'_,.-", max_size=30))
def test_canonical_is_settled_and_survives_speech(text: str) -> None:
    words = answer_to_tokens(canonical_answer(text))
    assert answer_to_tokens(tokens_to_answer(words)) == words

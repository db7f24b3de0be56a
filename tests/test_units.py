"""Units of a running text lose nothing of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.config import from_config, to_config
from vlrnn.text.tokenizers import CharTokenizer, LMTokenizer, WordTokenizer

every_unit = pytest.mark.parametrize("kind", [CharTokenizer, WordTokenizer])


@every_unit
@given(text=st.text())
def test_joined_they_are_the_text(kind: type[LMTokenizer], text: str) -> None:
    units = kind().split(text)
    assert "".join(units) == text
    assert all(units)


@every_unit
def test_they_are_described(kind: type[LMTokenizer]) -> None:
    assert type(from_config(to_config(kind()), LMTokenizer, "here")) is kind


def test_words() -> None:
    text = '"Don\'t!" said  Mia,\n\tto 2 dogs.'
    words = ['"', "Don't", "!", '"', " said", " ", " Mia", ",", "\n", "\t", "to", " 2", " dogs", "."]
    assert WordTokenizer().split(text) == words
    assert list(CharTokenizer().split("a b")) == ["a", " ", "b"]

"""Units of a running text lose nothing of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.config import describe, rebuild
from vlrnn.text.lm_tokenizers import Characters, Units, Words

every_unit = pytest.mark.parametrize("kind", [Characters, Words])


@every_unit
@given(text=st.text())
def test_joined_they_are_the_text(kind: type[Units], text: str) -> None:
    units = kind().split(text)
    assert "".join(units) == text
    assert all(units)


@every_unit
def test_they_are_described(kind: type[Units]) -> None:
    assert type(rebuild(describe(kind()), Units, "here")) is kind


def test_words() -> None:
    text = '"Don\'t!" said  Mia,\n\tto 2 dogs.'
    words = ['"', "Don't", "!", '"', " said", " ", " Mia", ",", "\n", "\t", "to", " 2", " dogs", "."]
    assert Words().split(text) == words
    assert list(Characters().split("a b")) == ["a", " ", "b"]

"""What settings of decoding must be."""

import math

import pytest

from vlrnn.errors import UserError
from vlrnn.generation.search import GenerationConfig

WRONG = [
    {"num_beams": 0},
    {"max_new_tokens": 0},
    {"num_return_sequences": 0},
    {"min_new_tokens": -1},
    {"no_repeat_ngram_size": -1},
    {"temperature": 1.0, "top_k": -1},
    {"min_new_tokens": 5, "max_new_tokens": 5},
    {"temperature": 1.0, "top_p": 0.0},
    {"temperature": 1.0, "top_p": 1.1},
    {"temperature": 1.0, "top_p": math.nan},
    {"top_k": 3},
    {"top_p": 0.9},
    {"num_return_sequences": 2},
    {"num_beams": 2, "num_return_sequences": 3},
    {"temperature": 0.0},
    {"temperature": -1.0},
    {"temperature": math.nan},
    {"temperature": math.inf},
    {"temperature": 1.0, "num_beams": 2},
    {"length_penalty": math.nan},
    {"length_penalty": math.inf},
    {"length_penalty": 51},
    {"length_penalty": 10**400},
    {"early_stopping": "always"},
    {"early_stopping": 1},
    {"early_stopping": None},
    {"num_beams": "5"},
    {"num_beams": 5.0},
    {"num_beams": True},
    {"num_beams": None},
    {"num_beams": [5]},
    {"num_beams": "many\nbeams " * 100},
    {"max_new_tokens": "30"},
    {"min_new_tokens": 1.5},
    {"length_penalty": "1.0"},
    {"no_repeat_ngram_size": "2"},
    {"temperature": "hot"},
    {"temperature": 1.0, "top_k": 2.0},
    {"temperature": 1.0, "top_p": "0.9"},
    {"num_beams": 10**6},
    {"num_beams": 10**30},
    {"max_new_tokens": 10**9},
    {"max_new_tokens": 10, "min_new_tokens": 10**9},
    {"max_new_tokens": 100_000, "num_beams": 1_000},
    {"max_new_tokens": 1_001, "num_beams": 1_000},
    {"max_new_tokens": 100_000, "num_beams": 11},
    {"max_new_tokens": 1_001, "temperature": 1.0, "num_return_sequences": 1_000},
    {"no_repeat_ngram_size": 10**9},
    {"temperature": 1.0, "num_return_sequences": 10**6},
    {"temperature": 1.0, "top_k": 10**30},
    {"temperature": 1e-40},
    {"temperature": 10**400},
]


def test_wrong_settings_are_refused(subtests: pytest.Subtests) -> None:
    for wrong in WRONG:
        with subtests.test(wrong=wrong):
            with pytest.raises(UserError) as error:
                GenerationConfig(**wrong)
            assert "\n" not in str(error.value)
            assert any(name in str(error.value) for name in wrong)
            assert len(str(error.value)) < 200


RIGHT = [
    {"length_penalty": 50},
    {"early_stopping": True},
    {"early_stopping": "never"},
    {"temperature": 1},
    {"num_beams": 1_000, "max_new_tokens": 1_000},
    {"num_beams": 10, "max_new_tokens": 100_000},
]


def test_what_is_allowed(subtests: pytest.Subtests) -> None:
    for right in RIGHT:
        with subtests.test(right=right):
            assert GenerationConfig(**right).describe().items() >= right.items()


def test_what_is_wrong_is_reported_with_what_is_right() -> None:
    printed = "num_beams must be a whole number from 1 to 1,000, not '5'"
    with pytest.raises(UserError, match=f"^{printed}$"):
        GenerationConfig(num_beams="5")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r'^early_stopping must be true, false or "never", not 3$'):
        GenerationConfig(early_stopping=3)  # type: ignore[arg-type]


def test_settings_describe_themselves() -> None:
    settings = GenerationConfig(num_beams=3, length_penalty=0.7)
    assert settings.describe()["num_beams"] == 3
    assert GenerationConfig(**settings.describe()) == settings

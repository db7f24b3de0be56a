"""Vocabulary: ids of words, special tokens, saving and loading."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.errors import UserError
from vlrnn.text.vocabulary import BOS, EOS, PAD, SPECIAL, UNK, Vocabulary

words = st.text("abcdé .", min_size=1, max_size=3)


def test_special_tokens_have_the_ids_that_they_have() -> None:
    assert (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)
    vocabulary = Vocabulary(["cat"])
    assert vocabulary.words == ("<pad>", "<bos>", "<eos>", "<unk>", "cat")
    assert vocabulary.encode(["cat"]) == [4]
    assert len(vocabulary) == 5
    assert "cat" in vocabulary
    assert "dog" not in vocabulary


@given(texts=st.lists(st.lists(words, max_size=6), max_size=6), least=st.integers(1, 3))
def test_count(texts: list[list[str]], least: int) -> None:
    vocabulary = Vocabulary.count(texts, least)
    running_words = [word for text in texts for word in text]
    own = vocabulary.words[len(SPECIAL) :]
    assert set(own) == {word for word in running_words if running_words.count(word) >= least}
    assert list(own) == sorted(own, key=lambda word: (-running_words.count(word), word))
    assert Vocabulary.count(reversed(texts), least).words == vocabulary.words


@given(texts=st.lists(st.lists(words, max_size=6), max_size=6))
def test_words_of_the_vocabulary_come_back(texts: list[list[str]]) -> None:
    vocabulary = Vocabulary.count(texts)
    for text in texts:
        assert vocabulary.decode([BOS, *vocabulary.encode(text), EOS, 4, 4]) == text


def test_unknown_words() -> None:
    vocabulary = Vocabulary.count([["a", "a", "b"]], min_count=2)
    assert vocabulary.encode(["a", "b", "zebra"]) == [4, UNK, UNK]
    assert vocabulary.decode([4, UNK, PAD, BOS, 4, EOS]) == ["a", "<unk>", "a"]


def test_words_that_spell_special_tokens_are_ordinary_strangers() -> None:
    """A caption may hold the text `<eos>`; it must not end there."""
    vocabulary = Vocabulary.count([["<eos>", "<eos>", "<pad>", "<unk>", "a"]])
    assert vocabulary.words == (*SPECIAL, "a")
    assert vocabulary.encode([*SPECIAL, "a"]) == [UNK] * 4 + [4]


def test_a_word_twice_is_refused() -> None:
    for twice in (["a", "b", "a"], ["<eos>"]):
        with pytest.raises(UserError, match="twice"):
            Vocabulary(twice)


def test_save_and_load(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["b", "a", "é"])
    vocabulary.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json").words == vocabulary.words


def test_what_is_no_vocabulary(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for content in ["[]", "{}", '{"words": "abc"}', '{"words": [1]}', "{", '{"words": null}']:
        with subtests.test(content=content):
            tmp_path = tmp_path_factory.mktemp("case")
            (tmp_path / "v.json").write_text(content)
            with pytest.raises(UserError, match=r"v\.json"):
                Vocabulary.load(tmp_path / "v.json")

"""Tokenizers: of captions, questions and answers, and of running text for language models.

Those of captions split into words, or into characters for scripts without spaces, and have separate tokens for the
scores. Those of running text are lossless: the joined units are the text.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.text.ptb_tokenizer import TOKENIZER_NAME, detokenize, tokenize, tokenize_all

_WORD = re.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]|\s")


class LMTokenizer(Configurable):
    """Interface of tokenizers of running text.

    Law: `"".join(tokenizer.split(text)) == text`.
    """

    name: str
    """Name of the units, in the plural."""

    def split(self, text: str) -> Sequence[str]:
        """The units of a text, in its order."""
        raise NotImplementedError


class CharTokenizer(LMTokenizer):
    """Each character is a unit."""

    name = "characters"

    def split(self, text: str) -> Sequence[str]:
        return text


class WordTokenizer(LMTokenizer):
    """Words and punctuation marks, each with the space before it if there is one; other white space is a unit itself:
    ` dog`, `.`, a line break."""

    name = "words"

    def split(self, text: str) -> Sequence[str]:
        return _WORD.findall(text)


class CaptionTokenizer(NamedTuple):
    """A tokenizer of captions, questions and answers.

    Attributes:
        name: in options, and of its tokens, in the plural.
        description: in result files.
        tokenize: a text -> its units.
        detokenize: units -> a text whose tokenization they are.
        tokens_for_scores: captions -> the tokens of each for BLEU, ROUGE-L and CIDEr.
    """

    name: str
    description: str
    tokenize: Callable[[str], list[str]]
    detokenize: Callable[[Sequence[str]], str]
    tokens_for_scores: Callable[[Sequence[str]], list[list[str]]]


WORDS = CaptionTokenizer("words", TOKENIZER_NAME, tokenize, detokenize, tokenize_all)
"""The words of the official caption scorer, for models and for scores (see `vlrnn.text.ptb_tokenizer`)."""


def _characters(text: str) -> list[str]:
    """The characters of a text in NFC, white space as single spaces."""
    return list(unicodedata.normalize("NFC", " ".join(text.split())))


def _scored_characters(captions: Sequence[str]) -> list[list[str]]:
    """In lower case, without spaces, as the `char` tokenizer of sacreBLEU (Post, WMT 2018), and without punctuation, as
    words are scored."""
    characters = (_characters(caption.lower()) for caption in captions)
    return [[each for each in text if unicodedata.category(each)[0] not in "PZC"] for text in characters]


CHARACTERS = CaptionTokenizer(
    "characters",
    "characters (lower case; without spaces and punctuation)",
    _characters,
    "".join,
    _scored_characters,
)
CAPTION_TOKENIZERS = {each.name: each for each in (WORDS, CHARACTERS)}


def caption_tokenizer(name: str) -> CaptionTokenizer:
    """The tokenizer of this name.

    Raises:
        UserError: there is none.
    """
    if name not in CAPTION_TOKENIZERS:
        raise UserError(f"tokenizer: {name!r} is none of {', '.join(CAPTION_TOKENIZERS)}")
    return CAPTION_TOKENIZERS[name]

"""Tokenizers: of captions, questions and answers, and of running text for language models.

Those of captions split into words, or into characters for scripts without spaces, and have separate tokens for the
scores. Those of running text are lossless: the joined units are the text. Checks of texts of data sets: texts without
words, canned phrases, scripts without spaces.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
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


_NO_VALUE = frozenset({"nan", "null", "none", "n/a", "<na>"})
"""Texts that tables and programs write for a missing value."""

_CANNED = frozenset({"quality issues are too severe to recognize visual content"})

# Runs of letters of scripts without spaces between words: Chinese and Japanese; and those with longer words: Thai, Lao,
# Tibetan, Burmese, Khmer.
_RUNS = re.compile(
    r"(?P<short>[\u3005\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
    r"|(?P<long>[\u0e01-\u0e4d\u0e81-\u0ecd\u0f40-\u0fbc\u1000-\u109f\u1780-\u17d3]+)"
)
_LONGEST_WORDS = {"short": 4, "long": 8}
"""Mean lengths of runs above which a text is not split into words; half of these for a text without any space."""

_SHARE = 0.1


def is_wordless(text: str) -> bool:
    """Whether a text has no word: no letter and no digit, or only the mark of a missing value (`nan`)."""
    return not any(map(str.isalnum, text)) or text.strip().lower() in _NO_VALUE


def is_canned(text: str) -> bool:
    """Whether a caption is the canned phrase of VizWiz-Captions for photographs of low quality (Gurari et al., ECCV
    2020)."""
    return text.strip().rstrip(".").lower() in _CANNED


def is_unspaced(text: str) -> bool:
    """Whether a text is written without spaces between words, as in Chinese, Japanese and Thai; False if it was split
    into words."""
    if text.isascii():
        return False
    share = 1 if len(text.split()) > 1 else 0.5
    share = 1 if len(text.split()) > 1 else 0.5
    for kind, longest in _LONGEST_WORDS.items():
        runs = [len(match[0]) for match in _RUNS.finditer(text) if match.lastgroup == kind]
        if runs and sum(runs) > share * longest * len(runs) and 2 * sum(runs) > sum(map(str.isalpha, text)):
            return True
    return False


def warn_of_unspaced(unspaced: int, texts: int, what: str, hint: str) -> str | None:
    """The warning that texts have no spaces between words, or None if it does not apply.

    Args:
        unspaced: number of texts without spaces.
        texts: number of all texts.
        what: name of the texts: `captions`.
        hint: what to do.
    """
    if unspaced <= _SHARE * texts:
        return None
    return (
        f"{unspaced:,} of {texts:,} {what} are written without spaces between words (as Chinese, Japanese and "
        f"Thai are), where a whole phrase would count as one word: {hint}"
    )


def count_unspaced(texts: Iterable[str]) -> tuple[int, int]:
    """The number of texts that are written without spaces, and of all texts."""
    found = list(map(is_unspaced, texts))
    return sum(found), len(found)

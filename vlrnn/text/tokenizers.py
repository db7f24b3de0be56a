"""Tokenizers: of captions, questions and answers, and of running text for language models.

Those of captions split into words, or into characters for scripts without spaces, and have separate tokens for the
scores. Those of running text are lossless: the joined units are the text.
"""

import re
import unicodedata
from collections.abc import Sequence

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


class CaptionTokenizer:
    """Interface of tokenizers of captions, questions and answers.

    Attributes:
        name: in options.
        unit: name of its tokens, in the plural.
        description: in result files.
    """

    name: str
    unit: str
    description: str

    def tokenize(self, text: str) -> list[str]:
        """The units of a text."""
        raise NotImplementedError

    def detokenize(self, tokens: Sequence[str]) -> str:
        """A text whose tokenization is these units."""
        raise NotImplementedError

    def tokens_for_scores(self, captions: Sequence[str]) -> list[list[str]]:
        """The tokens of each caption for BLEU, ROUGE-L and CIDEr."""
        raise NotImplementedError


class CaptionWordTokenizer(CaptionTokenizer):
    """The words of the official caption scorer, for models and for scores (see `vlrnn.text.ptb_tokenizer`)."""

    name = unit = "words"
    description = TOKENIZER_NAME

    def tokenize(self, text: str) -> list[str]:
        return tokenize(text)

    def detokenize(self, tokens: Sequence[str]) -> str:
        return detokenize(tokens)

    def tokens_for_scores(self, captions: Sequence[str]) -> list[list[str]]:
        return tokenize_all(captions)


class CaptionCharTokenizer(CaptionTokenizer):
    """The characters of a text in NFC, white space as single spaces. For scores: lower case, without spaces, as the
    `char` tokenizer of sacreBLEU (Post, WMT 2018), and without punctuation, as words are scored."""

    name = unit = "characters"
    description = "characters (lower case; without spaces and punctuation)"

    def tokenize(self, text: str) -> list[str]:
        return list(CharTokenizer().split(unicodedata.normalize("NFC", " ".join(text.split()))))

    def detokenize(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)

    def tokens_for_scores(self, captions: Sequence[str]) -> list[list[str]]:
        return [
            [each for each in self.tokenize(caption.lower()) if unicodedata.category(each)[0] not in "PZC"]
            for caption in captions
        ]


CAPTION_TOKENIZERS: dict[str, CaptionTokenizer] = {
    each.name: each for each in (CaptionWordTokenizer(), CaptionCharTokenizer())
}
WORDS = CAPTION_TOKENIZERS["words"]


def caption_tokenizer(name: str) -> CaptionTokenizer:
    """The tokenizer of this name.

    Raises:
        UserError: there is none.
    """
    if name not in CAPTION_TOKENIZERS:
        raise UserError(f"tokenizer: {name!r} is none of {', '.join(CAPTION_TOKENIZERS)}")
    return CAPTION_TOKENIZERS[name]


def described_tokenizer(description: object) -> CaptionTokenizer:
    """The tokenizer with this description in result files; words if it is unknown."""
    return next((each for each in CAPTION_TOKENIZERS.values() if each.description == description), WORDS)

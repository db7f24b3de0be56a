"""Tokenizers of captions, questions and answers: into words, or into characters, for scripts without spaces. Each has
the units that models read and write, and the tokens by which captions are compared. Independent of ids."""

import unicodedata
from collections.abc import Sequence

from vlrnn.errors import UserError
from vlrnn.text.lm_tokenizers import CharTokenizer
from vlrnn.text.ptb_tokenizer import TOKENIZER_NAME, detokenize, tokenize, tokenize_all


class CaptionTokenizer:
    """The interface.

    Attributes:
        name: by which options name it.
        unit: what its tokens are called, in the plural.
        description: its name in result files.
    """

    name: str
    unit: str
    description: str

    def tokenize(self, text: str) -> list[str]:
        """The units of a text."""
        raise NotImplementedError

    def detokenize(self, tokens: Sequence[str]) -> str:
        """A text of these units; tokenized, it gives them again."""
        raise NotImplementedError

    def tokens_for_scores(self, captions: Sequence[str]) -> list[list[str]]:
        """The tokens of each caption for BLEU, ROUGE-L and CIDEr."""
        raise NotImplementedError


class CaptionWordTokenizer(CaptionTokenizer):
    """The words of the official caption scorer, to models and to scores (see `vlrnn.text.ptb_tokenizer`)."""

    name = unit = "words"
    description = TOKENIZER_NAME

    def tokenize(self, text: str) -> list[str]:
        return tokenize(text)

    def detokenize(self, tokens: Sequence[str]) -> str:
        return detokenize(tokens)

    def tokens_for_scores(self, captions: Sequence[str]) -> list[list[str]]:
        return tokenize_all(captions)


class CaptionCharTokenizer(CaptionTokenizer):
    """The characters of a text, composed (NFC), a space for each white space. Scored in lower case, without
    spaces, as the `char` tokenizer of sacreBLEU (Post, WMT 2018), and without punctuation, as words are scored."""

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
    """The tokenizer that results name so; words where the name is unknown."""
    return next((each for each in CAPTION_TOKENIZERS.values() if each.description == description), WORDS)

"""Tokenizers of running text for language models. Unlike those of captions they are lossless: the joined units are the
text. Independent of ids."""

import re
from collections.abc import Sequence

from vlrnn.config import Configurable

_WORD = re.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]|\s")


class LMTokenizer(Configurable):
    """The interface.

    Law: `"".join(units.split(text)) == text`.
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
    """Words and punctuation marks, each with the space before it, if there is one; and each other white space: ` dog`,
    `.`, a line break."""

    name = "words"

    def split(self, text: str) -> Sequence[str]:
        return _WORD.findall(text)

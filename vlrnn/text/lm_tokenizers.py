"""Units of a running text: what it is cut into to be read one after the other. Unlike the tokens of captions, they lose
nothing: joined again, they are the text. Knows no ids."""

import re
from collections.abc import Sequence

from vlrnn.config import Configurable

_WORD = re.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]|\s")


class LMTokenizer(Configurable):
    """The interface.

    Law: `"".join(units.split(text)) == text`.
    """

    name: str
    """What many of them are called."""

    def split(self, text: str) -> Sequence[str]:
        """The units of a text, in its order."""
        raise NotImplementedError


class CharTokenizer(LMTokenizer):
    """Every character is one."""

    name = "characters"

    def split(self, text: str) -> Sequence[str]:
        return text


class WordTokenizer(LMTokenizer):
    """Words and punctuation marks, each with the space before it, if there is one; and each other white space: ` dog`,
    `.`, a line break."""

    name = "words"

    def split(self, text: str) -> Sequence[str]:
        return _WORD.findall(text)

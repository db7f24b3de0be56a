"""What is wrong with the captions and questions that data sets hold: texts of no word, phrases that annotators were
given ready-made, and scripts without spaces. Knows strings only."""

import re
from collections.abc import Iterable

_NO_VALUE = frozenset({"nan", "null", "none", "n/a", "<na>"})
"""What tables and programs write where they have nothing."""

_CANNED = frozenset({"quality issues are too severe to recognize visual content"})

# Runs of letters of scripts that are written without spaces between words, Chinese and Japanese, and the others, whose
# words are longer: Thai, Lao, Tibetan, Burmese, Khmer.
_RUNS = re.compile(
    r"(?P<short>[\u3005\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
    r"|(?P<long>[\u0e01-\u0e4d\u0e81-\u0ecd\u0f40-\u0fbc\u1000-\u109f\u1780-\u17d3]+)"
)
_LONGEST_WORDS = {"short": 4, "long": 8}
"""Mean lengths of runs beyond which they are no words: words that somebody has divided are shorter. In a text without
any space, where nobody has divided anything, half of them."""

_SHARE = 0.1


def is_wordless(text: str) -> bool:
    """Whether a text has no word: no letter and no digit, or it only stands for a value that lacks (`nan`)."""
    return not any(map(str.isalnum, text)) or text.strip().lower() in _NO_VALUE


def is_canned(text: str) -> bool:
    """Whether a caption is the phrase that VizWiz-Captions has for photographs too poor to describe (Gurari et al.,
    ECCV 2020)."""
    return text.strip().rstrip(".").lower() in _CANNED


def is_unspaced(text: str) -> bool:
    """Whether a text is written without spaces between its words, as Chinese, Japanese and Thai are; a text that was
    divided into words is not."""
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
    """The warning that words are no units of texts, or None where they are.

    Args:
        unspaced: how many of the texts are written without spaces.
        texts: how many there are.
        what: they are: `captions`.
        hint: what to do.
    """
    if unspaced <= _SHARE * texts:
        return None
    return (
        f"{unspaced:,} of {texts:,} {what} are written without spaces between words (as Chinese, Japanese and "
        f"Thai are), where a whole phrase would count as one word: {hint}"
    )


def count_unspaced(texts: Iterable[str]) -> tuple[int, int]:
    """How many of the texts are written without spaces, and how many there are."""
    found = list(map(is_unspaced, texts))
    return sum(found), len(found)

"""Checks of captions and questions of data sets: texts without words, canned phrases, scripts without spaces."""

import re
from collections.abc import Iterable

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

"""The singular of English nouns as the published script of CHAIR forms it, mistakes included: `bus` becomes `bu`. What
it counts is defined by that, so nothing is put right here.

Source: `pattern.en` (De Smedt and Daelemans, Pattern for Python, JMLR 2012); the words and rules are those of
words/singular.txt.
"""

import re
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).parent / "words" / "singular.txt"


@cache
def _sections() -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            lines = sections.setdefault(line.strip("[]"), [])
        elif not line.startswith("#"):
            lines.append(line)
    return sections


@cache
def _irregular() -> dict[str, str]:
    return dict(line.split(" ") for line in _sections()["irregular"])


@cache
def _rules() -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(rule), to) for rule, _, to in (line.partition(" ") for line in _sections()["rules"])]


@cache
def singular(word: str) -> str:
    """The singular of a word in lower case."""
    parts, sections = word.split("-"), _sections()
    if len(parts) > 1 and parts[1] in sections["prepositions"]:
        return "-".join([singular(parts[0]), *parts[1:]])
    if word.endswith("'"):
        return singular(word[:-1]) + "'s"
    # Whatever ends one of these words is left as it is: `craft` for `aircraft`.
    for section in ("unchanged, and words that end them", "uncountable, and words that end them"):
        if any(each.endswith(word) for each in sections[section]):
            return word
    if any(word.endswith(f"{each}s") for each in sections["left in the plural in -ies"]):
        return word
    for each in sections["singular in -s"]:
        if word.endswith(f"{each}es"):
            return each
    for plural, one in _irregular().items():
        if word.endswith(plural):
            return word.removesuffix(plural) + one
    for rule, to in _rules():
        if rule.search(word):
            return rule.sub(to, word)
    return word

"""Properties of positions in a text: within quotes, position in the line, after a noun. A property is a function of the
text, independent of its tokenization.

After Karpathy, Johnson and Fei-Fei, Visualizing and understanding recurrent networks, ICLR workshop 2016, section 4.2;
with further ones for captions.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlrnn.errors import UserError
from vlrnn.probes.gender_words import read_words
from vlrnn.probes.object_mentions import PhraseTable

Values = NDArray[Any]
"""A boolean or a number for each position."""

Property = Callable[[str], Values]
"""Maps a text to a value after each of its characters: [len(text)]."""

MENTIONED = "mentioned"
OBJECTS = 5
"""Number of objects, those mentioned most often, if none are named."""

_OPENS = {"“": "”", "«": "»", "„": "“"}
_BEFORE_WORDS = "([{—–-"
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_END = re.compile(r"[.!?]+(?=\W|$)|\n")  # of a sentence
_NOUNS = Path(__file__).parent / "words" / "nouns.txt"


def inside_quotes(text: str) -> Values:
    """Whether a quotation is open. A straight double quote opens one at the start of a word and closes it elsewhere;
    curly quotes and guillemets have a direction. An empty line closes all, since closing quotes may be missing. Single
    quotes are ignored, since most are apostrophes."""
    found, closing, before = np.zeros(len(text), bool), "", "\n"
    for place, each in enumerate(text):
        if each == '"':
            closing = '"' if before.isspace() or before in _BEFORE_WORDS else ""
        elif each == closing or each == before == "\n":
            closing = ""
        else:
            closing = closing or _OPENS.get(each, "")
        found[place], before = bool(closing), each
    return found


def inside_brackets(text: str) -> Values:
    """Whether a bracket of any kind is open; an empty line closes all."""
    found, closing, before = np.zeros(len(text), bool), [""], ""
    for place, each in enumerate(text):
        if each == closing[-1]:
            closing.pop()
        elif each in _BRACKETS:
            closing.append(_BRACKETS[each])
        elif each == before == "\n":
            closing = [""]
        found[place], before = len(closing) > 1, each
    return found


def line_position(text: str) -> Values:
    """Number of characters since the start of the line."""
    return np.fromiter(accumulate(text, lambda count, each: 0 if each == "\n" else count + 1, initial=0), int)[1:]


def word_position(text: str) -> Values:
    """Number of characters of the word so far; 0 between words."""
    return np.fromiter(accumulate(text, lambda count, each: count + 1 if each.isalnum() else 0, initial=0), int)[1:]


def last_word_is_noun(nouns: PhraseTable) -> Property:
    """Whether the last complete word is a noun.

    Args:
        nouns: finds them.
    """

    def evaluate(text: str) -> Values:
        found = np.zeros(len(text), bool)
        words = list(_WORD.finditer(text))
        last = {span.stop - 1 for span in nouns.find([each[0].lower() for each in words])}
        ends = [*(each.end() - 1 for each in words), len(text)]
        for number, (start, stop) in enumerate(pairwise(ends)):
            found[start:stop] = number in last
        return found

    return evaluate


def mentioned(name: str) -> Property:
    """Whether an object was mentioned so far in the sentence, by this complete name."""
    alone = PhraseTable({name: name})

    def so_far(text: str) -> Values:
        found = np.zeros(len(text), bool)
        for sentence, end_of in _mentions(text, alone):
            if name in end_of:
                found[end_of[name] : sentence.stop] = True
        return found

    return so_far


def most_mentioned(texts: Iterable[str], objects: PhraseTable, count: int = OBJECTS) -> list[str]:
    """The objects that are mentioned in the largest number of sentences."""
    counts = Counter(name for text in texts for _, end_of in _mentions(text, objects) for name in end_of)
    return sorted(counts, key=lambda name: (-counts[name], name))[:count]


def _mentions(text: str, objects: PhraseTable) -> Iterator[tuple[range, dict[str, int]]]:
    """Each sentence, as a range of the text, and the end of the first mention of each of its objects."""
    for start, stop in pairwise([0, *(end.end() for end in _END.finditer(text)), len(text)]):
        words = list(_WORD.finditer(text, start, stop))
        end_of: dict[str, int] = {}
        for span in objects.find([each[0].lower() for each in words]):
            end_of.setdefault(span.object, words[span.stop - 1].end() - 1)
        yield range(start, stop), end_of


# Of units.


def at_units(held: Property, units: Sequence[str]) -> Values:
    """A property after each unit of a tokenized text: [units]."""
    ends = np.cumsum([len(unit) for unit in units]) - 1
    return held("".join(units))[ends]


def noun_table(nouns: str | Path | None = None, more: Iterable[str] = ()) -> PhraseTable:
    """A table that finds nouns, in singular and plural.

    Args:
        nouns: a file with one word per line; by default `words/nouns.txt`.
        more: names that end with a noun.

    Raises:
        UserError: the file has no words.
    """
    return PhraseTable({name: name for name in (*sorted(read_words(nouns or _NOUNS)), *more)})


_ALWAYS: dict[str, Property] = {
    each.__name__: each for each in (inside_quotes, inside_brackets, line_position, word_position)
}
_NOUN = "noun_just_said"
PROPERTIES = (*_ALWAYS, _NOUN, MENTIONED)
"""The names of all properties. `mentioned` stands for all selected objects, `mentioned:dog` for one object."""


def check_names(names: Iterable[str]) -> None:
    """Check names of properties.

    Raises:
        UserError: there is no property of such a name.
    """
    for name in names:
        if name not in PROPERTIES and not name.startswith(f"{MENTIONED}:"):
            available = ", ".join((*PROPERTIES, f"{MENTIONED}:OBJECT"))
            raise UserError(f"--property {name}: no such property; choose from {available}")


def properties(
    nouns: PhraseTable, objects: PhraseTable, texts: Iterable[str], names: Sequence[str] = PROPERTIES
) -> dict[str, Property]:
    """Properties by their names.

    Args:
        nouns: finds nouns.
        objects: finds objects.
        texts: in which mentions are counted, for `mentioned`.
        names: of the properties.

    Raises:
        UserError: there is no property of such a name.
    """
    check_names(names)
    fixed = _ALWAYS | {_NOUN: last_word_is_noun(nouns)}
    found: dict[str, Property] = {}
    for name in names:
        kind, _, of = name.partition(":")
        if kind == MENTIONED:
            each_of = [of] if of else most_mentioned(texts, objects)
            found |= {f"{MENTIONED}:{each}": mentioned(each) for each in each_of}
        else:
            found[name] = fixed[name]
    return found

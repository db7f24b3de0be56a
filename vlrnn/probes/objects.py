"""Which objects a caption mentions: by a table of phrases, or as the published script of CHAIR finds them."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vlrnn.errors import UserError
from vlrnn.files import read_text
from vlrnn.interchange.matching import name_some
from vlrnn.probes.object_spans import PhraseTable, phrases, read_double_words
from vlrnn.probes.singular import singular
from vlrnn.text.tokenizer import tokenize

Mentions = Callable[[str], list[str]]
"""From a caption to the objects that it mentions, as often as it does."""


def mentions(
    mode: str,
    objects: Iterable[str],
    synonyms: str | Path | None = None,
    double_words: str | Path | None = None,
) -> Mentions:
    """How captions are read.

    Args:
        mode: `fixed`: phrases in singular or plural, the longest first; `chair-2018`: as `Script2018`.
        objects: the names of those that images have, which go by them.
        synonyms, double_words: tables of what else they are called; see `vlrnn.probes.object_spans.phrases`.

    Raises:
        UserError: there is no such mode, or a table is not of its form.
    """
    if mode == "chair-2018":
        return Script2018(objects, synonyms, double_words)
    if mode != "fixed":
        raise UserError(f"there is no mode {mode!r}; there are fixed and chair-2018")
    table = PhraseTable(phrases(objects, synonyms, double_words))
    return lambda caption: [span.object for span in table.find(tokenize(caption))]


def unread(find: Mentions, objects: Sequence[str], synonyms: str | Path | None = None) -> list[str]:
    """Notes on objects that captions cannot mention by their names, and on those that are no class of a table."""
    unheard = [name for name in objects if name not in find(name)]
    classes = set(objects) if synonyms is None else {*phrases((), synonyms).values(), *unheard}
    others = [name for name in objects if name not in classes]
    notes = {
        "objects are not found by their names, as captions are read": unheard,
        f"objects are no class of {synonyms} and go by their names alone": others,
    }
    return [f"{len(names)} {note}: {name_some(names, 10)}" for note, names in notes.items() if names]


_PLAIN = re.compile(r"(?!.*\b(?:cannot|gimme|gonna|gotta|lemme|wanna)\b)[a-z ]*[a-z] *\.? *")


def nltk_tokens(text: str) -> list[str]:
    """The tokens of a line in lower case, as `nltk.word_tokenize` has them. Of letters alone, with a full stop behind
    them or none, they are what blanks divide; that saves most captions its thirty regular expressions."""
    if _PLAIN.fullmatch(text):
        return text.replace(".", " .").split()
    from nltk.tokenize import word_tokenize  # whose import takes longer than all else here

    return word_tokenize(text, preserve_line=True)


class Script2018:
    """Reads captions as the script that was published with CHAIR (Rohrbach et al., Object hallucination in image
    captioning, EMNLP 2018), to the letter.

    Every token is put into the singular, by rules that make `bu` of a bus, which is then no object; pairs of double
    words are joined from left to right, once; a seat is none where there is a toilet; and a synonym that stands behind
    two spaces in the table is never found.

    Args:
        objects, synonyms, double_words: as for `mentions`.
    """

    def __init__(
        self,
        objects: Iterable[str],
        synonyms: str | Path | None = None,
        double_words: str | Path | None = None,
    ) -> None:
        own = [[name] for name in objects]
        table = own if synonyms is None else [line.strip().split(", ") for line in read_text(synonyms).splitlines()]
        self._objects = {word: line[0] for line in table for word in line}
        self._doubles = read_double_words(double_words)

    def __call__(self, caption: str) -> list[str]:
        words = self._joined([singular(token.rstrip(".") or token) for token in nltk_tokens(caption.lower())])
        seats = () if "toilet" not in words else ("seat",)
        return [self._objects[word] for word in words if word in self._objects and word not in seats]

    def _joined(self, words: list[str]) -> list[str]:
        joined = []
        place = 0
        while place < len(words):
            pair = " ".join(words[place : place + 2])
            joined.append(self._doubles.get(pair, words[place]))
            place += 2 if pair in self._doubles else 1
        return joined

"""Where in a caption its words name an object: phrases of a table, longest first. Knows no image."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vlrnn.errors import UserError
from vlrnn.files import read_json, read_text
from vlrnn.records import SPLITS, open_split
from vlrnn.text.tokenizer import tokenize


class Span(NamedTuple):
    """An `object` that the words from `start` to before `stop` of a caption name."""

    object: str
    start: int
    stop: int


class PhraseTable:
    """Finds objects by the phrases that name them, in singular and in plural.

    Args:
        objects: phrase -> the object that it names, or "" where it names none: the train track is no train.
    """

    def __init__(self, objects: Mapping[str, str]) -> None:
        spelled = {tuple(tokenize(phrase)): name for phrase, name in objects.items()}
        plurals = {
            (*words[:-1], plural): name for words, name in spelled.items() if words for plural in _plurals(words[-1])
        }
        self._objects = plurals | spelled  # what the table has itself comes first
        self._longest = max(map(len, self._objects), default=0)

    def find(self, words: Sequence[str]) -> list[Span]:
        """The objects that the words of a caption name, from left to right; no word is of two."""
        found: list[Span] = []
        start = 0
        while start < len(words):
            stops = range(min(start + self._longest, len(words)), start, -1)
            stop = next((stop for stop in stops if tuple(words[start:stop]) in self._objects), None)
            if stop is not None and self._objects[tuple(words[start:stop])]:
                found.append(Span(self._objects[tuple(words[start:stop])], start, stop))
            start = stop or start + 1
        return found


_IRREGULAR = {
    "man": "men",
    "child": "children",
    "person": "people",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
}


def _plurals(word: str) -> set[str]:
    """What may be its plural: also such as nobody says (`giraves`), which do no harm."""
    irregular = {word.removesuffix(one) + many for one, many in _IRREGULAR.items() if word.endswith(one)}
    if re.search(r"[^f]fe?$", word):
        irregular.add(re.sub("fe?$", "ves", word))
    if re.search(r"(s|x|z|ch|sh)$", word):
        return irregular | {f"{word}es"}
    return irregular | {re.sub(r"(?<=[^aeiou])y$", "ie", word) + "s"}


def object_names(folder: str | Path) -> set[str]:
    """The objects that the examples of a prepared data set have, of all its splits."""
    splits = [split for split in SPLITS if (Path(folder) / f"{split}.jsonl").is_file()]
    return {name for split in splits for example in open_split(folder, split) for name in example.objects or ()}


def phrases(
    objects: Iterable[str], synonyms: str | Path | None = None, double_words: str | Path | None = None
) -> dict[str, str]:
    """Phrase -> object, of objects that go by their own names, and of a table of synonyms, for a `PhraseTable`.

    Args:
        objects: names.
        synonyms: a text file; a line has an object and, behind commas, what else it is called, as the table of CHAIR
            (Rohrbach et al. 2018) does.
        double_words: JSON, two words -> what they are called together, which names an object or none.

    Raises:
        UserError: a file cannot be read, or names nothing.
    """
    table: dict[str, str] = {}
    if synonyms is not None:
        lines = [[word.strip() for word in line.split(",")] for line in read_text(synonyms).splitlines()]
        table = {word: line[0] for line in lines for word in line if word and line[0]}
        if not table:
            raise UserError(f"{synonyms}: names no object; a line is an object and its synonyms, commas between them")
    table |= {name: name for name in objects}
    return {words: table.get(name, "") for words, name in read_double_words(double_words).items()} | table


def read_double_words(path: str | Path | None) -> dict[str, str]:
    """Two words -> what they are called together; nothing without a file.

    Raises:
        UserError: the file is not of that form.
    """
    value = {} if path is None else read_json(path)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise UserError(f'{path}: expected {{"two words": "what they are called", ...}}')
    return value

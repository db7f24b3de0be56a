"""Objects that a caption mentions: by a table of phrases, or as the published script of CHAIR finds them.

Plural nouns are reduced to the singular by rules and a table of irregular forms.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vlrnn.data.matching import name_some
from vlrnn.data.records import SPLITS, open_split
from vlrnn.errors import UserError
from vlrnn.files import read_json, read_text
from vlrnn.text.ptb_tokenizer import tokenize

Mentions = Callable[[str], list[str]]
"""Maps a caption to the objects that it mentions, with repetition."""


def mentions(
    mode: str, objects: Iterable[str], synonyms: str | Path | None = None, double_words: str | Path | None = None
) -> Mentions:
    """The function that finds objects in captions.

    Args:
        mode: `fixed`: phrases in singular or plural, longest first; `chair-2018`: as `Script2018`.
        objects: names of the objects of images, which are phrases as well.
        synonyms, double_words: tables of further phrases; see `vlrnn.probes.object_mentions.phrases`.

    Raises:
        UserError: there is no such mode, or a table has an invalid format.
    """
    if mode == "chair-2018":
        return Script2018(objects, synonyms, double_words)
    if mode != "fixed":
        raise UserError(f"there is no mode {mode!r}; there are fixed and chair-2018")
    table = PhraseTable(phrases(objects, synonyms, double_words))
    return lambda caption: [span.object for span in table.find(tokenize(caption))]


def unread(find: Mentions, objects: Sequence[str], synonyms: str | Path | None = None) -> list[str]:
    """Notes on objects whose names are not found in captions, and on those that are no class of a table."""
    unheard = [name for name in objects if name not in find(name)]
    classes = set(objects) if synonyms is None else {*phrases((), synonyms).values(), *unheard}
    others = [name for name in objects if name not in classes]
    notes = {
        "objects are not found by their names in captions": unheard,
        f"objects are not in {synonyms} and are found by their names only": others,
    }
    return [f"{len(names)} {note}: {name_some(names, 10)}" for note, names in notes.items() if names]


_PLAIN = re.compile(r"(?!.*\b(?:cannot|gimme|gonna|gotta|lemme|wanna)\b)[a-z ]*[a-z] *\.? *")


def nltk_tokens(text: str) -> list[str]:
    """The tokens of a line in lower case, equal to those of `nltk.word_tokenize`. Lines of letters and spaces, with or
    without a final full stop, are split at spaces, which avoids its thirty regular expressions for most captions."""
    if _PLAIN.fullmatch(text):
        return text.replace(".", " .").split()
    from nltk.tokenize import word_tokenize  # slow to import

    return word_tokenize(text, preserve_line=True)


class Script2018:
    """Finds objects exactly as the script published with CHAIR (Rohrbach et al., Object hallucination in image
    captioning, EMNLP 2018).

    Every token is singularised by rules that map `bus` to `bu`, which is then no object; pairs of double words are
    joined from left to right, once; a seat is ignored where there is a toilet; and a synonym after two spaces in the
    table is never found.

    Args:
        objects, synonyms, double_words: as for `mentions`.
    """

    def __init__(
        self, objects: Iterable[str], synonyms: str | Path | None = None, double_words: str | Path | None = None
    ) -> None:
        own = [[name] for name in objects]
        table = own if synonyms is None else [line.strip().split(", ") for line in read_text(synonyms).splitlines()]
        self._objects = {word: line[0] for line in table for word in line}
        self._doubles = read_double_words(double_words)

    def __call__(self, caption: str) -> list[str]:
        tokens = [singular(token.rstrip(".") or token) for token in nltk_tokens(caption.lower())]
        words, place = [], 0
        while place < len(tokens):
            pair = " ".join(tokens[place : place + 2])
            words.append(self._doubles.get(pair, tokens[place]))
            place += 2 if pair in self._doubles else 1
        seats = () if "toilet" not in words else ("seat",)
        return [self._objects[word] for word in words if word in self._objects and word not in seats]


class Span(NamedTuple):
    """An `object` and its words in a caption, from `start` to before `stop`."""

    object: str
    start: int
    stop: int


class PhraseTable:
    """Finds objects by phrases, in singular and plural.

    Args:
        objects: phrase -> object, or "" for none: a train track is no train.
    """

    def __init__(self, objects: Mapping[str, str]) -> None:
        by_words = {tuple(tokenize(phrase)): name for phrase, name in objects.items()}
        plurals = {
            (*words[:-1], plural): name for words, name in by_words.items() if words for plural in _plurals(words[-1])
        }
        self._objects = plurals | by_words  # phrases of the table have priority
        self._longest = max(map(len, self._objects), default=0)

    def find(self, words: Sequence[str]) -> list[Span]:
        """The objects in the words of a caption, from left to right, without overlap."""
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
    """Possible plurals of a word; those that do not exist (`giraves`) are harmless."""
    irregular = {word.removesuffix(one) + many for one, many in _IRREGULAR.items() if word.endswith(one)}
    if re.search(r"[^f]fe?$", word):
        irregular.add(re.sub("fe?$", "ves", word))
    if re.search(r"(s|x|z|ch|sh)$", word):
        return irregular | {f"{word}es"}
    return irregular | {re.sub(r"(?<=[^aeiou])y$", "ie", word) + "s"}


def object_names(folder: str | Path) -> set[str]:
    """The objects of the examples of a prepared data set, over all splits."""
    splits = [split for split in SPLITS if (Path(folder) / f"{split}.jsonl").is_file()]
    return {name for split in splits for example in open_split(folder, split) for name in example.objects or ()}


def phrases(
    objects: Iterable[str], synonyms: str | Path | None = None, double_words: str | Path | None = None
) -> dict[str, str]:
    """Phrase -> object, for a `PhraseTable`: the names of objects, and a table of synonyms.

    Args:
        objects: names.
        synonyms: a text file; a line is an object and its synonyms, separated by commas, as in the table of CHAIR
            (Rohrbach et al. 2018).
        double_words: JSON, two words -> their joint name, which is an object or none.

    Raises:
        UserError: a file cannot be read, or is empty.
    """
    table: dict[str, str] = {}
    if synonyms is not None:
        lines = [[word.strip() for word in line.split(",")] for line in read_text(synonyms).splitlines()]
        table = {word: line[0] for line in lines for word in line if word and line[0]}
        if not table:
            raise UserError(f"{synonyms}: has no object; a line is an object and its synonyms, separated by commas")
    table |= {name: name for name in objects}
    return {words: table.get(name, "") for words, name in read_double_words(double_words).items()} | table


def read_double_words(path: str | Path | None) -> dict[str, str]:
    """Two words -> their joint name; empty without a file.

    Raises:
        UserError: the file has another format.
    """
    value = {} if path is None else read_json(path)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise UserError(f'{path}: expected {{"two words": "their joint name", ...}}')
    return value


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
def singular(word: str) -> str:
    """The singular of a word in lower case."""
    parts, sections = word.split("-"), _sections()
    if len(parts) > 1 and parts[1] in sections["prepositions"]:
        return "-".join([singular(parts[0]), *parts[1:]])
    if word.endswith("'"):
        return singular(word[:-1]) + "'s"
    # A word that ends with one of these is unchanged: `aircraft` ends with `craft`.
    for section in ("unchanged, and words that end them", "uncountable, and words that end them"):
        if any(each.endswith(word) for each in sections[section]):
            return word
    if any(word.endswith(f"{each}s") for each in sections["left in the plural in -ies"]):
        return word
    for each in sections["singular in -s"]:
        if word.endswith(f"{each}es"):
            return each
    for plural, _, one in (line.partition(" ") for line in sections["irregular"]):
        if word.endswith(plural):
            return word.removesuffix(plural) + one
    for rule, _, to in (line.partition(" ") for line in sections["rules"]):
        if re.search(rule, word):
            return re.sub(rule, to, word)
    return word

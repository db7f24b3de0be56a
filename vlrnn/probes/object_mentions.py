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
        synonyms, double_words: tables of what else they are called; see `vlrnn.probes.object_mentions.phrases`.

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
        by_words = {tuple(tokenize(phrase)): name for phrase, name in objects.items()}
        plurals = {
            (*words[:-1], plural): name for words, name in by_words.items() if words for plural in _plurals(words[-1])
        }
        self._objects = plurals | by_words  # what the table has itself comes first
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

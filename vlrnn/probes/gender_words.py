"""Gender named in a caption, by lists of words; gender of the people in images, by lists of ids or references."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from vlrnn.data.formats.base import References
from vlrnn.data.matching import name_some
from vlrnn.data.record_ids import Id, as_id
from vlrnn.errors import UserError
from vlrnn.files import read_text

Gender = Literal["woman", "man"]
GENDERS: tuple[Gender, ...] = get_args(Gender)

_WORD = re.compile(r"[a-z0-9'-]+")
_LISTS = Path(__file__).parent / "words"


def words_of(caption: str) -> list[str]:
    """The words of a caption in lower case, unstemmed; hyphens and apostrophes are part of words."""
    return _WORD.findall(caption.lower())


@dataclass(frozen=True)
class GenderWords:
    """The words that name a woman, and those that name a man."""

    women: frozenset[str]
    men: frozenset[str]

    @classmethod
    def load(cls, women: str | Path | None = None, men: str | Path | None = None) -> Self:
        """Read lists of words, one word per line; `#` starts a comment.

        Args:
            women, men: files; by default the lists of Hendricks et al., Women also Snowboard, ECCV 2018.

        Raises:
            UserError: a list is empty, a line is not one word, or a word is in both lists.
        """
        paths = women or _LISTS / "women.txt", men or _LISTS / "men.txt"
        lists = [read_words(path) for path in paths]
        if both := sorted(lists[0] & lists[1]):
            raise UserError(f"{paths[0]}: {name_some(both)} also in {paths[1]}; a word names one gender")
        return cls(*lists)

    def named(self, caption: str) -> Gender | None:
        """The gender that a caption names; None if it names neither, or both."""
        words = set(words_of(caption))
        woman, man = not words.isdisjoint(self.women), not words.isdisjoint(self.men)
        if woman == man:
            return None
        return "woman" if woman else "man"

    def masked(self) -> frozenset[str]:
        """All words that reveal a gender: these, and a longer list in `words/masked.txt`."""
        return self.women | self.men | read_words(_LISTS / "masked.txt")


def read_words(path: str | Path) -> frozenset[str]:
    """The words of a list, in lower case.

    Raises:
        UserError: it is empty, or a line is not one word.
    """
    lines = [line.partition("#")[0].strip().lower() for line in read_text(path).splitlines()]
    for number, line in enumerate(lines, 1):
        if line and len(line.split()) > 1:
            raise UserError(f"{path}:{number}: {line!r} is more than one word; put one word on each line")
    words = frozenset(filter(None, lines))
    if not words:
        raise UserError(f"{path}: holds no words; put one on each line")
    return words


def read_people(women: str | Path, men: str | Path) -> tuple[dict[Id, Gender], list[str]]:
    """The gender of the people in images, by two lists of image ids, one id per line.

    Returns:
        image id -> gender, and notes on empty lists and repeated ids.

    Raises:
        UserError: an id is in both lists, or both are empty.
    """
    paths: dict[Gender, str | Path] = {"woman": women, "man": men}
    notes: list[str] = []
    people: dict[Id, Gender] = {}
    for gender, path in paths.items():
        counts = Counter(map(as_id, read_text(path).split("\n")))
        counts.pop("", None)
        if not counts:
            notes.append(f"{path}: holds no ids: there is no image of a {gender}")
        if repeated := [id for id, count in counts.items() if count > 1]:
            notes.append(f"{path}: {len(repeated)} ids occur more than once, and count once: {name_some(repeated)}")
        if both := [id for id in counts if id in people]:
            raise UserError(f"{path}: {len(both)} ids also in {women}: {name_some(both)}; remove them from one")
        people |= dict.fromkeys(counts, gender)
    if not people:
        raise UserError(f"{women}, {men}: hold no ids; put an image id on each line")
    return people, notes


def find_people(
    references: References, words: GenderWords, women: str | Path | None = None, men: str | Path | None = None
) -> tuple[dict[Id, Gender], list[str]]:
    """The gender of the people in images: by lists, see `read_people`, or by the references.

    By references (Zhao et al., Men also like shopping, EMNLP 2017), an image has the gender that at least one of its
    captions names while none names the other.

    Raises:
        UserError: a list is invalid, only one is given, or there are neither lists nor references.
    """
    if women is not None and men is not None:
        return read_people(women, men)
    if not (references and women is men is None):
        raise UserError("no genders of the images: give both --women and --men, or neither and --references")
    named = {id: {words.named(caption) for caption in captions} - {None} for id, captions in references.items()}
    return {id: gender for id, genders in named.items() if len(genders) == 1 for gender in genders if gender}, []

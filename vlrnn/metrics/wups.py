"""WUPS: similarity of answers by the taxonomy of nouns in WordNet.

Sources: Malinowski and Fritz, A Multi-World Approach to Question Answering, NIPS 2014, section 4.1, and their
`calculate_wups.py`; Wu and Palmer, Verbs Semantics and Lexical Selection, ACL 1994, as implemented in NLTK, which that
script uses. The format of the database is that of WordNet's manual pages wndb(5WN) and morphy(7WN).
"""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from vlrnn.errors import UserError

_ENDINGS = (
    ("s", ""),
    ("ses", "s"),
    ("ves", "f"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
)
"""Endings of plurals -> of the singular, from morphy, and -ves from NLTK."""


class Meaning(NamedTuple):
    """A synset of nouns."""

    name: str  # as in NLTK: dog.n.01
    above: dict[int, int]  # itself and all hypernyms -> least number of steps up to them
    shortest: int  # least number of steps to the root
    longest: int


class WordNet:
    """The nouns of a WordNet database.

    Args:
        folder: holds `data.noun`, `index.noun` and `noun.exc`, as `/usr/share/wordnet` of Debian's wordnet-base does.

    Raises:
        UserError: a file is not there, or is none of WordNet's.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._data = self._read("data.noun")
        self._places: dict[str, list[int]] = {}
        for number, line in enumerate(self._read("index.noun").decode("latin-1").split("\n"), start=1):
            if line.strip() and not line.startswith(" "):  # the indented lines are the licence
                fields = line.split()
                try:
                    self._places[fields[0]] = [int(place) for place in fields[-int(fields[2]) :]]
                except (IndexError, ValueError):
                    raise UserError(f"{self.folder}/index.noun:{number}: not a line of a WordNet index") from None
        exceptions = map(str.split, self._read("noun.exc").decode("latin-1").split("\n"))
        self._singulars = {fields[0]: fields[1:] for fields in exceptions if fields}
        self._meanings: dict[int, Meaning | None] = {}
        self._similarities: dict[tuple[str, str], float] = {}

    def wups(self, predicted: Sequence[str], right: Sequence[str], threshold: float) -> float:
        """The similarity of two sets of items, in 0..1: the minimum of two products, over the predicted items of the
        similarity to the nearest correct item, and over the correct items of that to the nearest predicted one.

        Args:
            predicted, right: the predicted and the correct items, which may have spaces.
            threshold: similarities below it are multiplied by 0.1.
        """
        near = [[self._likeness(one, other, threshold) for other in right] for one in predicted]
        if not predicted or not right:
            return float(not predicted and not right)
        return min(prod(map(max, near)), prod(map(max, zip(*near, strict=True))))

    def similarity(self, one: str, other: str) -> float:
        """The Wu-Palmer similarity of two nouns, in 0..1: the maximum over their synsets; 0 if one is not in
        WordNet."""
        pair = (one, other)
        if pair not in self._similarities:
            meanings = [self.meanings(word) for word in pair]
            likenesses = (self._wu_palmer(first, second) for first in meanings[0] for second in meanings[1])
            self._similarities[pair] = max(likenesses, default=0.0)
        return self._similarities[pair]

    def meanings(self, word: str) -> list[int]:
        """The synsets of a noun, or of its possible singulars, as offsets in `data.noun`."""
        word = "_".join(word.lower().split())
        stems = self._singulars.get(word) or [
            word.removesuffix(plural) + singular for plural, singular in _ENDINGS if word.endswith(plural)
        ]
        forms = dict.fromkeys((word, *stems))
        return [place for form in forms for place in self._places.get(form, ())]

    def _likeness(self, one: str, other: str, threshold: float) -> float:
        if one == other:
            return 1.0
        similarity = self.similarity(one, other)
        return similarity if similarity >= threshold else 0.1 * similarity

    def _wu_palmer(self, one: int, other: int) -> float:
        """Twice the depth of the lowest common hypernym, divided by the sum of the depths of the two."""
        common = self._meaning(one).above.keys() & self._meaning(other).above.keys()
        if not common:
            return 0.0
        # As NLTK: the common hypernym is deepest by the shortest path, the first by name among equals; its depth is by
        # the longest path.
        deepest = max(self._meaning(place).shortest for place in common)
        lowest = [place for place in common if self._meaning(place).shortest == deepest]
        shared = one if one in lowest else min(lowest, key=lambda place: self._meaning(place).name)
        depth = self._meaning(shared).longest + 1
        depths = [self._steps(place, shared) + depth for place in (one, other)]
        return 2.0 * depth / sum(depths)

    def _steps(self, one: int, other: int) -> int:
        """The length of the shortest path from one synset to another through a common hypernym."""
        first, second = self._meaning(one).above, self._meaning(other).above
        return min(first[place] + second[place] for place in first.keys() & second.keys())

    def _meaning(self, place: int) -> Meaning:
        if place not in self._meanings:
            self._meanings[place] = None  # in progress
            name, parents = self._entry(place)
            hypernyms = [self._meaning(parent) for parent in parents]
            above = {place: 0}
            for parent in hypernyms:
                for each, steps in parent.above.items():
                    above[each] = min(steps + 1, above.get(each, steps + 1))
            shortest = min((1 + parent.shortest for parent in hypernyms), default=0)
            longest = max((1 + parent.longest for parent in hypernyms), default=0)
            self._meanings[place] = Meaning(name, above, shortest, longest)
        meaning = self._meanings[place]
        if meaning is None:
            raise UserError(f"{self.folder}/data.noun: the meaning at byte {place} is more general than itself")
        return meaning

    def _entry(self, place: int) -> tuple[str, list[int]]:
        """The name of a synset, and the offsets of its direct hypernyms."""
        try:
            fields = self._data[place : self._data.index(b"\n", place)].decode("latin-1").split()
            if int(fields[0]) != place:
                raise ValueError
            words = int(fields[3], 16)
            pointers = fields[5 + 2 * words : 5 + 2 * words + 4 * int(fields[4 + 2 * words])]
            lemma = fields[4].lower()
            name = f"{lemma}.n.{self._places[lemma].index(place) + 1:02d}"
            above = zip(pointers[::4], pointers[1::4], strict=True)
            return name, [int(target) for symbol, target in above if symbol in ("@", "@i")]
        except (IndexError, KeyError, ValueError):
            raise UserError(
                f"{self.folder}: data.noun has no meaning at byte {place}, where index.noun or a meaning names one"
            ) from None

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as fault:
            raise UserError(
                f"{self.folder}/{name}: cannot be read: {fault.strerror or fault}; a WordNet database is "
                "wanted, such as /usr/share/wordnet of Debian's wordnet-base"
            ) from None

"""Captions of synthetic scenes: a small grammar for generating and parsing captions.

    caption  = [opening] object ("and" object place)* [ground]
    object   = article [size] colour shape
    place    = phrase of a relation
    ground   = "on a" pattern "background"

A caption names all objects in scan order (left to right) or its reverse, and gives the relation of each but the first
to the one before, which is "it". The wording is constant within a caption: `there is a red circle and a blue square
right of it and a green star above it`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from vlrnn.data.synthetic.scenes import COLOURS, GROUNDS, SHAPES, SIZES, Scene, SceneObject, relation

OPENINGS = {"": 1, "there is": 1, "we see": -1, "a picture of": -1}
"""Opening -> 1 for a caption from left to right, -1 from right to left: the opening determines the first object."""

PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("left of it", "left of that"),
    "right": ("right of it", "right of that"),
    "above": ("above it", "over that"),
    "below": ("below it", "under that"),
}
"""Relation -> its wordings; a caption uses one column."""

CAPTIONS_PER_SCENE = 5


def captions(scene: Scene, rng: Random, count: int = CAPTIONS_PER_SCENE) -> tuple[str, ...]:
    """Sample differently worded captions of a scene; about four of ten have sizes, and as many the ground."""
    drawn: dict[str, None] = {}  # an ordered set
    while len(drawn) < count:
        opening = rng.choice(tuple(OPENINGS))
        caption = describe_objects(
            scene.objects[:: OPENINGS[opening]],
            opening=opening,
            column=rng.randrange(2),
            with_size=rng.random() < 0.4,
            ground=scene.ground if rng.random() < 0.4 else None,
        )
        drawn[caption] = None
    return tuple(drawn)


def describe_objects(
    objects: Sequence[SceneObject],
    *,
    opening: str = "",
    column: int = 0,
    with_size: bool = False,
    ground: str | None = None,
) -> str:
    """The caption that names these objects in this order.

    Args:
        objects: in the order of the caption.
        opening: of `OPENINGS`.
        column: which of the two wordings of `PHRASES`.
        with_size: name the sizes.
        ground: the pattern to name, or None.
    """
    parts = [opening, noun_phrase(objects[0], with_size)]
    for before, after in pairwise(objects):
        parts += ["and", noun_phrase(after, with_size), PHRASES[relation(after, before)][column]]
    if ground:
        parts.append(f"on a {ground} background")
    return " ".join(part for part in parts if part)


def noun_phrase(thing: SceneObject, with_size: bool = False) -> str:
    """`a red circle`, or with its size `a small red circle`."""
    return with_article(f"{thing.size} {thing.name}" if with_size else thing.name)


def with_article(words: str) -> str:
    """`a red circle`, `an orange ring`."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


@dataclass(frozen=True)
class Mention:
    """An object as named in a caption; `size` is None if it is not given."""

    colour: str
    shape: str
    size: str | None = None


@dataclass(frozen=True)
class Claims:
    """The claims of a caption: `relations[i]` is the direction of `mentions[i + 1]` from `mentions[i]`."""

    mentions: tuple[Mention, ...]
    relations: tuple[str, ...]
    ground: str | None


def read_caption(caption: str) -> Claims | None:
    """Parse a caption, ignoring case and punctuation; None if it is not in the grammar."""
    words = "".join(letter if letter.isalpha() else " " for letter in caption.lower()).split()
    reader = _Reader(words)
    reader.take_any(_OPENINGS)
    mentions = [reader.mention()]
    relations: list[str | None] = []
    while reader.take_any({"and": "and"}):
        mentions.append(reader.mention())
        relations.append(reader.relation())
    ground = reader.ground()
    named = [each for each in mentions if each is not None]
    placed = [each for each in relations if each is not None]
    if len(named) < len(mentions) or len(placed) < len(relations) or not reader.at_end:
        return None
    return Claims(tuple(named), tuple(placed), ground)


_OPENINGS = {opening: opening for opening in OPENINGS if opening}
_RELATIONS = {phrase: name for name, phrases in PHRASES.items() for phrase in phrases}
_ARTICLES = {article: article for article in ("a", "an", "the")}
_GROUNDS = {f"on a {ground} background": ground for ground in GROUNDS}


class _Reader:
    """A recursive-descent parser over the words of a caption."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.place = 0

    @property
    def at_end(self) -> bool:
        return self.place == len(self.words)

    def take_any(self, phrases: Mapping[str, str]) -> str | None:
        """Consume the first of these phrases that matches here; returns its meaning, or None."""
        for phrase, meaning in phrases.items():
            end = self.place + len(phrase.split())
            if self.words[self.place : end] == phrase.split():
                self.place = end
                return meaning
        return None

    def mention(self) -> Mention | None:
        self.take_any(_ARTICLES)
        size = self.take_any({size: size for size in SIZES})
        colour = self.take_any({colour: colour for colour in COLOURS})
        shape = self.take_any({shape: shape for shape in SHAPES})
        return Mention(colour, shape, size) if colour and shape else None

    def relation(self) -> str | None:
        return self.take_any(_RELATIONS)

    def ground(self) -> str | None:
        return self.take_any(_GROUNDS)

"""Captions of synthetic scenes: a small grammar for generating and parsing captions.

    caption  = [opening] object ("and" object place)* [ground]
    object   = article [size] colour shape
    place    = phrase of a relation
    ground   = "on a" pattern "background"

A caption names all objects in scan order (left to right) or its reverse, and gives the relation of each but the first
to the one before, which is "it". The wording is constant within a caption: `there is a red circle and a blue square
right of it and a green star above it`.
"""

import re
from collections.abc import Iterable, Sequence
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
        column, with_size = rng.randrange(2), rng.random() < 0.4
        ground = scene.ground if rng.random() < 0.4 else None
        objects = scene.objects[:: OPENINGS[opening]]
        caption = describe_objects(objects, opening=opening, column=column, with_size=with_size, ground=ground)
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


def _any(words: Iterable[str]) -> str:
    return f"({'|'.join(words)})"


_RELATIONS = {phrase: name for name, phrases in PHRASES.items() for phrase in phrases}
_OBJECT = rf"(?:(?:a|an|the) )?(?:{_any(SIZES)} )?{_any(COLOURS)} {_any(SHAPES)}"
_PLACE = rf" {_any(_RELATIONS)}"
_CAPTION = re.compile(
    rf"(?:{_any(filter(None, OPENINGS))} )?{_OBJECT}(?: and {_OBJECT}{_PLACE})*(?: on a {_any(GROUNDS)} background)?"
)


def read_caption(caption: str) -> Claims | None:
    """Parse a caption, ignoring case and punctuation; None if it is not in the grammar."""
    text = " ".join("".join(letter if letter.isalpha() else " " for letter in caption.lower()).split())
    if (whole := _CAPTION.fullmatch(text)) is None:
        return None
    found = re.findall(rf"{_OBJECT}(?:{_PLACE})?", text)
    mentions = tuple(Mention(colour, shape, size or None) for size, colour, shape, _ in found)
    return Claims(mentions, tuple(_RELATIONS[phrase] for *_, phrase in found[1:]), whole.groups()[-1])

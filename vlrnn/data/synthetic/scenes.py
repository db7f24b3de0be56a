"""Synthetic scenes: what stands where in a picture. Independent of pixels, words and files.

Positions and radii are shares of the image's side, with x to the right and y downwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from random import Random
from typing import Any

from vlrnn.errors import UserError

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "black")
SIZES = {"small": 0.1, "large": 0.145}
"""Size word -> radius as a share of the image's side."""
GROUNDS = ("plain", "striped", "dotted", "checked", "noisy")
INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
"""The relations, each with the one that holds the other way round."""

HELD_OUT = (("red", "star"), ("green", "circle"), ("blue", "triangle"), ("yellow", "cross"))
"""Pairs of colour and shape that train never shows, each of whose parts it shows in every other pair."""

BIASED_KINDS = ("star", "ring")
"""The bias dial makes the second of these shapes come along with the first."""

CLEAR_CUT = 1.5
"""How many times further apart, at least, consecutive objects are along their relation's axis than across."""

_EXTENT = 1.2  # no shape reaches further from its centre along an axis, in radii
_GAP = 0.02  # between two objects, and from the border
_SCAN_STEP = 0.06  # between consecutive centres, left to right, so that the order can be seen


@dataclass(frozen=True)
class SceneObject:
    """One object: its kind and size in words, its centre and radius as shares of the image's side."""

    colour: str
    shape: str
    size: str
    x: float
    y: float
    radius: float

    @property
    def pair(self) -> tuple[str, str]:
        """Colour and shape, which no two objects of a scene share."""
        return self.colour, self.shape

    @property
    def name(self) -> str:
        """`red circle`."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """One to four objects in scan order (left to right by centre) on a ground.

    `look` is the seed of everything that captions do not describe: the tints, the stripes' width, the noise.
    """

    objects: tuple[SceneObject, ...]
    ground: str
    look: int

    @property
    def held_out(self) -> bool:
        """Whether it shows a pair of colour and shape that train never shows."""
        return any(thing.pair in HELD_OUT for thing in self.objects)

    def to_dict(self) -> dict[str, Any]:
        """The scene as JSON takes it."""
        return {**asdict(self), "objects": [asdict(thing) for thing in self.objects]}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Scene:
        """The inverse of `to_dict`.

        Raises:
            UserError: this is no scene.
        """
        try:
            scene = cls(tuple(SceneObject(**thing) for thing in value["objects"]), value["ground"], value["look"])
            shares = [share for thing in scene.objects for share in (thing.x, thing.y, thing.radius)]
            placed = all(0 <= share <= 1 for share in shares)
        except (KeyError, TypeError) as fault:
            raise UserError(f"not a synthetic scene: {fault}") from None
        words = [word for thing in scene.objects for word in (*thing.pair, thing.size)]
        if not placed or not all(isinstance(word, str) for word in (*words, scene.ground)):
            raise UserError("not a synthetic scene: its objects are not told in words and shares of the image's side")
        return scene


def relation(a: SceneObject, b: SceneObject) -> str:
    """Where `a` is from `b`, by the axis along which they are further apart."""
    dx, dy = b.x - a.x, b.y - a.y
    if abs(dx) >= abs(dy):
        return "left" if dx > 0 else "right"
    return "above" if dy > 0 else "below"


def relation_holds(a: SceneObject, name: str, b: SceneObject) -> bool:
    """Whether one may say that `a` is `name` of `b`: the centres differ in that direction, and across it at
    most `CLEAR_CUT` times as much. So a clear-cut pair has one relation, and a diagonal pair has two that may
    be said."""
    dx, dy = b.x - a.x, b.y - a.y
    along, across = {"left": (dx, dy), "right": (-dx, dy), "above": (dy, dx), "below": (-dy, dx)}[name]
    return along > 0 and abs(across) < CLEAR_CUT * along


def sample_scene(rng: Random, *, held_out: bool = False, bias: float = 0.0, max_objects: int = 4) -> Scene:
    """Draw a scene: number, kinds, sizes and ground uniformly, places till the relations are clear.

    Args:
        rng: where chance comes from.
        held_out: put one of the pairs that train never shows into it; without, it has none.
        bias: the probability of making a ring be there where a star is and a ring is not.
        max_objects: up to how many objects, 1 to 4.
    """
    pairs = _sample_pairs(rng, held_out, rng.randint(1, max_objects))
    if bias:
        pairs = _biased(rng, pairs, bias)
    sizes = [rng.choice(list(SIZES)) for _ in pairs]
    radii = [SIZES[size] * rng.uniform(0.95, 1.05) for size in sizes]
    places = _sample_places(rng, radii)
    objects = [
        SceneObject(colour, shape, size, round(x, 4), round(y, 4), round(radius, 4))
        for (colour, shape), size, (x, y), radius in zip(pairs, sizes, places, radii, strict=True)
    ]
    return Scene(tuple(sorted(objects, key=lambda thing: thing.x)), rng.choice(GROUNDS), rng.getrandbits(32))


def _sample_pairs(rng: Random, held_out: bool, count: int) -> list[tuple[str, str]]:
    """Different pairs of colour and shape; with `held_out`, the first is one of those."""
    pairs = [rng.choice(HELD_OUT)] if held_out else []
    while len(pairs) < count:
        pair = rng.choice(COLOURS), rng.choice(SHAPES)
        if pair not in pairs and (held_out or pair not in HELD_OUT):
            pairs.append(pair)
    return pairs


def _biased(rng: Random, pairs: list[tuple[str, str]], bias: float) -> list[tuple[str, str]]:
    """With probability `bias`, let the second biased kind come along where only the first is there.

    An object that the first kind can spare takes the second's shape; a lone object gets company.
    """
    cause, effect = BIASED_KINDS
    shapes = [shape for _, shape in pairs]
    if cause not in shapes or effect in shapes or rng.random() >= bias:
        return pairs
    if len(pairs) == 1:
        return [*pairs, (rng.choice(COLOURS), effect)]
    position = shapes.index(cause)
    changed = rng.choice([index for index in range(len(pairs)) if index != position])
    return [(colour, effect if index == changed else shape) for index, (colour, shape) in enumerate(pairs)]


def _sample_places(rng: Random, radii: Sequence[float]) -> list[tuple[float, float]]:
    """Centres at which nothing overlaps or leaves the picture, and the relations are clear."""
    reaches = [_EXTENT * radius for radius in radii]
    while True:
        places = [
            (rng.uniform(reach + _GAP, 1 - reach - _GAP), rng.uniform(reach + _GAP, 1 - reach - _GAP))
            for reach in reaches
        ]
        if _apart(places, reaches) and _clear_cut(sorted(places)):
            return places


def _apart(places: Sequence[tuple[float, float]], reaches: Sequence[float]) -> bool:
    for i, (xi, yi) in enumerate(places):
        for j, (xj, yj) in enumerate(places[:i]):
            if max(abs(xi - xj), abs(yi - yj)) < reaches[i] + reaches[j] + _GAP:
                return False
    return True


def _clear_cut(scan: Sequence[tuple[float, float]]) -> bool:
    for (xa, ya), (xb, yb) in pairwise(scan):
        near, far = sorted((xb - xa, abs(yb - ya)))
        # A hair more than CLEAR_CUT, which survives the rounding of the coordinates.
        if xb - xa < _SCAN_STEP or far < (CLEAR_CUT + 0.05) * near:
            return False
    return True

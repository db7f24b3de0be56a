"""Synthetic scenes: objects and their positions.

Positions and radii are fractions of the image's side, with x to the right and y downwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise, starmap
from random import Random
from typing import Any

from vlrnn.errors import UserError

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "black")
SIZES = {"small": 0.1, "large": 0.145}
"""Size word -> radius as a fraction of the image's side."""
GROUNDS = ("plain", "striped", "dotted", "checked", "noisy")
INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
"""Relation -> inverse relation."""

HELD_OUT = (("red", "star"), ("green", "circle"), ("blue", "triangle"), ("yellow", "cross"))
"""Pairs of colour and shape that are not in train; all other pairs of these colours and shapes are."""

BIASED_KINDS = ("star", "ring")
"""With a bias, the second of these shapes is added to scenes with the first."""

CLEAR_CUT = 1.5
"""Least ratio of the distances of consecutive objects along and across the axis of their relation."""

_EXTENT = 1.2  # greatest extent of a shape from its centre along an axis, in radii
_GAP = 0.02  # between two objects, and from the border
_SCAN_STEP = 0.06  # least horizontal distance of consecutive centres, so that the order is visible


@dataclass(frozen=True)
class SceneObject:
    """One object: its kind and size in words, its centre and radius as fractions of the image's side."""

    colour: str
    shape: str
    size: str
    x: float
    y: float
    radius: float

    @property
    def pair(self) -> tuple[str, str]:
        """Colour and shape, unique within a scene."""
        return self.colour, self.shape

    @property
    def name(self) -> str:
        """`red circle`."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """One to four objects in scan order (left to right by centre) on a ground.

    `seed` is that of the appearance that captions do not describe: tints, width of stripes, noise. In files its key is
    `look`.
    """

    objects: tuple[SceneObject, ...]
    ground: str
    seed: int

    @property
    def held_out(self) -> bool:
        """Whether it has a pair of colour and shape that is not in train."""
        return any(thing.pair in HELD_OUT for thing in self.objects)

    def to_dict(self) -> dict[str, Any]:
        """The scene as a JSON object."""
        return {"objects": [asdict(thing) for thing in self.objects], "ground": self.ground, "look": self.seed}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Scene:
        """The inverse of `to_dict`.

        Raises:
            UserError: the value is no scene.
        """
        try:
            scene = cls(tuple(SceneObject(**thing) for thing in value["objects"]), value["ground"], value["look"])
            shares = [share for thing in scene.objects for share in (thing.x, thing.y, thing.radius)]
            placed = all(0 <= share <= 1 for share in shares)
        except (KeyError, TypeError) as fault:
            raise UserError(f"not a synthetic scene: {fault}") from None
        words = [word for thing in scene.objects for word in (*thing.pair, thing.size)]
        if not placed or not all(isinstance(word, str) for word in (*words, scene.ground)):
            raise UserError("not a synthetic scene: its objects are not given as words and shares of the image's side")
        return scene


def relation(a: SceneObject, b: SceneObject) -> str:
    """The direction of `a` from `b`, along the axis of their larger distance."""
    dx, dy = b.x - a.x, b.y - a.y
    if abs(dx) >= abs(dy):
        return "left" if dx > 0 else "right"
    return "above" if dy > 0 else "below"


def relation_holds(a: SceneObject, name: str, b: SceneObject) -> bool:
    """Whether `a` is `name` of `b`: the centres differ in that direction, and across it at most `CLEAR_CUT` times as
    much. So an unambiguous pair has one relation, and a diagonal pair two."""
    dx, dy = b.x - a.x, b.y - a.y
    along, across = {"left": (dx, dy), "right": (-dx, dy), "above": (dy, dx), "below": (-dy, dx)}[name]
    return along > 0 and abs(across) < CLEAR_CUT * along


def sample_scene(rng: Random, *, held_out: bool = False, bias: float = 0.0, max_objects: int = 4) -> Scene:
    """Sample a scene: number, kinds, sizes and ground uniformly; positions until all relations are unambiguous.

    Args:
        rng: random number generator.
        held_out: include one of the held-out pairs; otherwise the scene has none.
        bias: probability of adding a ring to a scene with a star and no ring.
        max_objects: most objects, 1 to 4.
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
    """Distinct pairs of colour and shape; with `held_out`, the first is a held-out one."""
    pairs = [rng.choice(HELD_OUT)] if held_out else []
    while len(pairs) < count:
        pair = rng.choice(COLOURS), rng.choice(SHAPES)
        if pair not in pairs and (held_out or pair not in HELD_OUT):
            pairs.append(pair)
    return pairs


def _biased(rng: Random, pairs: list[tuple[str, str]], bias: float) -> list[tuple[str, str]]:
    """With probability `bias`, add the second biased shape to pairs that have only the first: another object gets this
    shape, or an object is added if there is only one."""
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
    """Random centres without overlap, within the image, and with unambiguous relations."""
    reaches = [_EXTENT * radius for radius in radii]
    borders = [(reach + _GAP, 1 - reach - _GAP) for reach in reaches]
    while True:
        places = [(rng.uniform(*border), rng.uniform(*border)) for border in borders]
        pairs = combinations(zip(places, reaches, strict=True), 2)
        if all(_apart(*a, *b) for a, b in pairs) and all(starmap(_clear_cut, pairwise(sorted(places)))):
            return places


Point = tuple[float, float]


def _apart(a: Point, reach_a: float, b: Point, reach_b: float) -> bool:
    return max(abs(a[0] - b[0]), abs(a[1] - b[1])) >= reach_a + reach_b + _GAP


def _clear_cut(a: Point, b: Point) -> bool:
    near, far = sorted((b[0] - a[0], abs(b[1] - a[1])))
    # Slightly more than CLEAR_CUT, so that it holds after rounding the coordinates.
    return b[0] - a[0] >= _SCAN_STEP and far >= (CLEAR_CUT + 0.05) * near

"""Rendering of synthetic scenes: shapes, colours and grounds as pixels."""

import math
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlrnn.data.synthetic.scenes import Scene, SceneObject

RGB = tuple[int, int, int]
Points = tuple[tuple[float, float], ...]

PAINTS: dict[str, RGB] = {
    "red": (214, 32, 38),
    "orange": (248, 136, 18),
    "yellow": (246, 220, 28),
    "green": (32, 142, 52),
    "cyan": (38, 202, 214),
    "blue": (36, 70, 204),
    "purple": (142, 44, 172),
    "black": (24, 24, 26),
}
"""Colour word -> mean RGB; grounds are pale and nearly grey, for contrast."""

_TINTS: tuple[RGB, ...] = ((228, 228, 226), (220, 227, 236), (238, 230, 218), (222, 233, 222))
_FINER = 4  # factor of supersampling, for smooth edges


def _star() -> Points:
    corners = []
    for corner in range(10):
        reach, angle = (1.25, 0.52)[corner % 2], math.pi * (corner / 5 - 0.5)
        corners.append((reach * math.cos(angle), reach * math.sin(angle) + 0.12))
    return tuple(corners)


def _cross() -> Points:
    arm, half = 1.05, 0.36
    corners = [(half, -arm), (half, -half), (arm, -half)]
    while len(corners) < 12:
        x, y = corners[-3]
        corners.append((-y, x))  # rotated by 90 degrees
    return tuple(corners)


POLYGONS: dict[str, Points] = {
    "square": ((-0.89, -0.89), (0.89, -0.89), (0.89, 0.89), (-0.89, 0.89)),
    "triangle": ((0.0, -1.0), (1.15, 0.95), (-1.15, 0.95)),
    "star": _star(),
    "cross": _cross(),
}
"""Corners in radii around the centre. The circle and the ring are drawn as ellipses."""


def render(scene: Scene, size: int = 96) -> Image.Image:
    """Draw a scene as an RGB image of `size` x `size` pixels, deterministically."""
    side = size * _FINER
    rng = Random(scene.seed)
    image = _ground(scene, rng, side)
    draw = ImageDraw.Draw(image)
    for thing in scene.objects:
        _draw(draw, thing, _jittered(rng, PAINTS[thing.colour]), side)
    return image.reduce(_FINER)


def _jittered(rng: Random, colour: RGB, by: int = 10) -> RGB:
    red, green, blue = (min(255, max(0, channel + rng.randint(-by, by))) for channel in colour)
    return red, green, blue


def _draw(draw: ImageDraw.ImageDraw, thing: SceneObject, colour: RGB, side: int) -> None:
    x, y, radius = thing.x * side, thing.y * side, thing.radius * side
    if thing.shape == "circle":
        draw.circle((x, y), radius, fill=colour)
    elif thing.shape == "ring":
        draw.circle((x, y), 1.08 * radius, outline=colour, width=round(0.42 * radius))
    else:
        draw.polygon([(x + radius * u, y + radius * v) for u, v in POLYGONS[thing.shape]], fill=colour)


def _ground(scene: Scene, rng: Random, side: int) -> Image.Image:
    light = _jittered(rng, rng.choice(_TINTS), by=5)
    depth = 64 if scene.ground == "noisy" else 42  # for noise the darkest value, which few grains have
    red, green, blue = (channel - depth for channel in light)
    pattern = Image.fromarray(_pattern(scene.ground, rng, side))
    return Image.composite(
        Image.new("RGB", (side, side), (red, green, blue)), Image.new("RGB", (side, side), light), pattern
    )


def _pattern(ground: str, rng: Random, side: int) -> NDArray[np.uint8]:
    """Darkness of the ground [side, side]: 0 is the light tone, 255 the dark one."""
    pitch = rng.uniform(0.11, 0.14)
    steps = (np.arange(side, dtype=np.float32) + 0.5) / (side * pitch)
    x, y = steps[None, :] + np.float32(rng.random()), steps[:, None] + np.float32(rng.random())
    if ground == "striped":
        level, upright = np.broadcast_to(y, (side, side)), np.broadcast_to(x, (side, side))
        across = rng.choice((level, upright, (x + y) / math.sqrt(2), (x - y) / math.sqrt(2)))
        return _mask(across % 1 < 0.5)
    if ground == "checked":
        return _mask((x % 2 < 1) ^ (y % 2 < 1))
    if ground == "dotted":
        return _mask((x % 1 - 0.5) ** 2 + (y % 1 - 0.5) ** 2 < 0.27**2)
    if ground == "noisy":
        grains = 48  # independent of the image size
        noise = np.random.default_rng(rng.getrandbits(64)).integers(0, 256, (grains, grains), dtype=np.uint8)
        nearest = np.arange(side) * grains // side
        return noise[nearest][:, nearest]
    return np.zeros((side, side), np.uint8)


def _mask(dark: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return dark.astype(np.uint8) * np.uint8(255)

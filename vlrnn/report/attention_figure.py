"""Figure of attention weights over the image, word by word. Takes arrays; independent of models."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vlrnn.errors import UserError
from vlrnn.files import replacing

_COLUMNS = 5
_WIDE, _TITLE = 2.2, 0.2  # inches: width of each picture, height of the line above it
_SIDE = 384  # pixels of the longer side of each


def shaded(image: Image.Image, weights: np.ndarray) -> Image.Image:
    """The image, RGB, bright where the weights [N] of a square grid of regions, row by row, are large."""
    side = math.isqrt(len(weights))
    grid = weights[: side * side].reshape(side, side)
    bright = Image.fromarray((255 * grid / max(grid.max(), 1e-9)).astype(np.uint8))
    light = np.asarray(bright.resize(image.size, Image.Resampling.BICUBIC), dtype=np.float32)[..., None] / 255
    return Image.fromarray((np.asarray(image) * (0.25 + 0.75 * light)).astype(np.uint8))


def within(image: Image.Image, side: int) -> Image.Image:
    """The image, resized to a longer side of `side` pixels; the shorter side has at least one."""
    scale = side / max(image.size)
    return image.resize((max(1, round(scale * image.width)), max(1, round(scale * image.height))))


def save_attention(path: str | Path, image: Image.Image, words: Sequence[str], weights: np.ndarray) -> None:
    """Save the image once for every word, bright where its attention weights are large.

    Args:
        path: a .png, .jpg, .pdf or .svg file.
        image: RGB.
        words: T of them.
        weights: [T, N], over a square grid of regions, row by row.

    Raises:
        UserError: the file's ending names no picture format, or it cannot be written.
    """
    image = within(image, _SIDE)
    rows = math.ceil((len(words) + 1) / _COLUMNS)
    tall = min(2 * _WIDE, max(1.0, _WIDE * image.height / image.width)) + _TITLE
    figure = Figure(figsize=(_WIDE * _COLUMNS, tall * rows), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for axis in axes:
        axis.axis("off")
    axes[0].imshow(image)
    words = [word.replace("$", r"\$") for word in words]  # else what stands between two is taken for a formula
    axes[0].set_title(" ".join(words), fontsize=9, wrap=True)
    for axis, word, word_weights in zip(axes[1:], words, weights, strict=False):
        axis.imshow(shaded(image, word_weights))
        axis.set_title(f"{word}  {word_weights.max():.2f}", fontsize=10)
    try:
        with replacing(path, binary=True) as file:
            figure.savefig(file, format=Path(path).suffix.removeprefix(".") or None, dpi=110)
    except ValueError as fault:
        raise UserError(f"{path}: the picture cannot be written: {fault}") from None

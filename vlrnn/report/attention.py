"""A picture of where a model looked at each word. Knows arrays, no models."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vlrnn.errors import UserError
from vlrnn.files import replacing

_COLUMNS = 5
_SIDE = 384  # pixels of each


def veiled(image: Image.Image, weights: np.ndarray) -> Image.Image:
    """The image, RGB, bright where the weights [N] of a square grid of regions, row by row, are large."""
    side = math.isqrt(len(weights))
    grid = weights[: side * side].reshape(side, side)
    veil = Image.fromarray((255 * grid / max(grid.max(), 1e-9)).astype(np.uint8))
    light = np.asarray(veil.resize(image.size, Image.Resampling.BICUBIC), dtype=np.float32)[..., None] / 255
    return Image.fromarray((np.asarray(image) * (0.25 + 0.75 * light)).astype(np.uint8))


def save_attention(path: str | Path, image: Image.Image, words: Sequence[str], weights: np.ndarray) -> None:
    """Save the image once for every word, bright where the model looked.

    Args:
        path: a .png, .jpg, .pdf or .svg file.
        image: RGB.
        words: T of them.
        weights: [T, N], over a square grid of regions, row by row.

    Raises:
        UserError: the file's ending names no picture format, or it cannot be written.
    """
    rows = math.ceil((len(words) + 1) / _COLUMNS)
    figure = Figure(figsize=(2.2 * _COLUMNS, 2.4 * rows), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for axis in axes:
        axis.axis("off")
    axes[0].imshow(image.resize((_SIDE, _SIDE)))
    words = [word.replace("$", r"\$") for word in words]  # else what stands between two is taken for a formula
    axes[0].set_title(" ".join(words), fontsize=9, wrap=True)
    for axis, word, looked in zip(axes[1:], words, weights, strict=False):
        axis.imshow(veiled(image.resize((_SIDE, _SIDE)), looked))
        axis.set_title(f"{word}  {looked.max():.2f}", fontsize=10)
    try:
        with replacing(path, binary=True) as file:
            figure.savefig(file, format=Path(path).suffix.removeprefix(".") or None, dpi=110)
    except ValueError as fault:
        raise UserError(f"{path}: the picture cannot be written: {fault}") from None

"""A picture of where a model looked at each word. Knows arrays, no models."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vlrnn.errors import UserError

_COLUMNS = 5


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
    side = math.isqrt(weights.shape[1])
    picture = np.asarray(image.resize((384, 384)))
    rows = math.ceil((len(words) + 1) / _COLUMNS)
    figure = Figure(figsize=(2.2 * _COLUMNS, 2.4 * rows), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for axis in axes:
        axis.axis("off")
    axes[0].imshow(picture)
    words = [word.replace("$", r"\$") for word in words]  # else what stands between two is taken for a formula
    axes[0].set_title(" ".join(words), fontsize=9, wrap=True)
    for axis, word, looked in zip(axes[1:], words, weights, strict=False):
        grid = looked[: side * side].reshape(side, side)
        veil = Image.fromarray((255 * grid / max(grid.max(), 1e-9)).astype(np.uint8))
        light = np.asarray(veil.resize((384, 384), Image.Resampling.BICUBIC), dtype=np.float32)[..., None] / 255
        axis.imshow((picture * (0.25 + 0.75 * light)).astype(np.uint8))
        axis.set_title(f"{word}  {grid.max():.2f}", fontsize=10)
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as fault:
        raise UserError(f"{path}: the picture cannot be written: {fault}") from None

"""From an image in any form to its regions: pixels that are encoded, or regions that are stored by its name."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlrnn.data.images import ImageLike, pixels, read_image
from vlrnn.data.region_files import RegionFiles
from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import Context, Encoder
from vlrnn.nn.encoders.precomputed import PrecomputedRegions


class ImageReader:
    """Reads images as an encoder takes them, and encodes them.

    Args:
        encoder: of the model.
        device: where it runs.
    """

    def __init__(self, encoder: Encoder, device: torch.device) -> None:
        self._encoder = encoder
        self._device = device
        self._files: RegionFiles | None = None

    def read(self, image: ImageLike, number: int = 1) -> np.ndarray | UserError:
        """The pixels of an image, at the size that the encoder takes: a batch of photographs need not be held at their
        full size. For precomputed regions, those of an image of this name."""
        try:
            if isinstance(self._encoder, PrecomputedRegions):
                self._files = self._files or RegionFiles(self._encoder.path, self._encoder.feature_dim)
                return self._files[image_name(image, number)]
            return pixels(read_image(image, f"image {number}"), self._encoder.image_size)
        except UserError as fault:
            return fault

    @torch.no_grad()
    def regions(self, read: Sequence[np.ndarray]) -> Tensor:
        """The regions [B, N, D] of images that `read` returned."""
        if isinstance(self._encoder, PrecomputedRegions):
            return pad_sequence(list(map(torch.from_numpy, read)), True).to(self._device)
        return self._encoder.regions(torch.from_numpy(np.stack(read)).to(self._device))

    @torch.no_grad()
    def context(self, read: Sequence[np.ndarray]) -> Context:
        """The encoder's output for images that `read` returned."""
        return self._encoder.context(self.regions(read))


def image_name(image: ImageLike, number: int = 1) -> str:
    """The name of an image in a prediction: its file, or its number. Always text that can be written as UTF-8, which
    not every file's name is."""
    if isinstance(image, (str, os.PathLike)):
        name: Any = os.fspath(image)
    else:
        name = getattr(image, "filename", "") or getattr(image, "name", "")
    return os.fsencode(name if isinstance(name, str) and name else f"image {number}").decode(errors="replace")

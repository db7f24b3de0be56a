"""The Python interface to a trained model: load a checkpoint once, then caption images."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlrnn.data.images import as_seen, open_image, pixels
from vlrnn.decoding.search import Decoding
from vlrnn.errors import UserError
from vlrnn.nn.context import Context
from vlrnn.records import Prediction
from vlrnn.tasks.captioning import Captioner
from vlrnn.tasks.checkpoint import load_task
from vlrnn.tasks.speaking import as_prediction
from vlrnn.text.vocabulary import BOS

ImageLike = str | Path | Image.Image


class Predictor:
    """A captioner, ready to be asked.

    Args:
        task: trained.
        device: where it runs; by default a GPU where there is one.

    Raises:
        UserError: there is no such device.
    """

    def __init__(self, task: Captioner, device: str | torch.device | None = None) -> None:
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            self.task = task.to(self.device).eval()
        except (AssertionError, RuntimeError) as fault:  # each kind of device is refused in its own way
            raise UserError(f"device {device}: cannot be used: {' '.join(str(fault).split())[:200]}") from None
        self._encoder = task.encoder.folded()

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device | None = None) -> "Predictor":
        """Load a `.ckpt` file or a folder of `save_pretrained`; runs no code from it and downloads nothing.

        Raises:
            UserError: it is none.
        """
        return cls(load_task(path, Captioner), device)

    def decoding(self, **settings: Any) -> Decoding:
        """The model's own decoding settings, changed where `settings` says (`num_beams=5`, ...)."""
        # Random drawing has no beams: who asks for a temperature alone means one.
        if settings.get("temperature") is not None:
            settings.setdefault("num_beams", 1)
        return replace(self.task.decoding, **settings)

    def caption(self, image: ImageLike, *, seed: int = 0, **settings: Any) -> Prediction:
        """Caption one image, a file or a PIL image.

        Args:
            image: the image.
            seed: of random drawing, when a temperature is given.
            settings: fields of `Decoding` to change.

        Raises:
            UserError: the file is no image, or the settings contradict each other.
        """
        (prediction,) = self.captions([image], seed=seed, **settings)
        if isinstance(prediction, UserError):
            raise prediction
        return prediction

    def captions(
        self, images: Iterable[ImageLike], *, batch_size: int = 16, seed: int = 0, **settings: Any
    ) -> Iterator[Prediction | UserError]:
        """Caption many images, in order. Where one cannot be read, its error stands in the place of its caption."""
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, not {batch_size}")
        if not 0 <= seed < 2**63:
            raise UserError(f"seed must be from 0 to {2**63 - 1}, not {seed}")
        decoding = self.decoding(**settings)
        generator = torch.Generator(self.device).manual_seed(seed)
        numbered = enumerate(images, 1)
        while batch := list(islice(numbered, batch_size)):
            read = [self._read(image) for _, image in batch]
            good = [each for each in read if isinstance(each, np.ndarray)]
            sentences = iter(self.task.speak(self._see(good), decoding, generator) if good else ())
            for (number, image), result in zip(batch, read, strict=True):
                if isinstance(result, UserError):
                    yield result
                else:
                    name = _name(image, number)
                    yield as_prediction(name, name, next(sentences), decoding.describe())

    @torch.no_grad()
    def attention(self, image: ImageLike, tokens: Iterable[str]) -> np.ndarray | None:
        """Where the model looks as it says these words, and then ends: weights [T + 1, N] over the regions, row by row
        of the grid; None when its decoder does not attend."""
        ids = torch.tensor([[BOS, *self.task.vocabulary.encode(tokens)]], device=self.device)
        read = self._read(image)
        if isinstance(read, UserError):
            raise read
        memory = self.task.decoder.prepare(self._see([read]))
        attention = self.task.decoder.read(ids, memory, torch.zeros(1, dtype=torch.long, device=self.device)).attention
        return None if attention is None else attention[0].cpu().numpy()

    def _read(self, image: ImageLike) -> np.ndarray | UserError:
        """The pixels as the encoder takes them: a batch of photographs need not be held at their full size."""
        try:
            seen = as_seen(image) if isinstance(image, Image.Image) else open_image(image)
        except UserError as fault:
            return fault
        return pixels(seen, self._encoder.size)

    @torch.no_grad()
    def _see(self, images: list[np.ndarray]) -> Context:
        return self._encoder(torch.from_numpy(np.stack(images)).to(self.device))


def _name(image: ImageLike, number: int) -> str:
    """What a prediction calls its image: the file, or which one it was. Always text that can be written as UTF-8,
    which not every file's name is."""
    if isinstance(image, Image.Image):
        image = getattr(image, "filename", "") or f"image {number}"
    return os.fsencode(image).decode(errors="replace")

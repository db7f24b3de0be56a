"""The Python interface to a trained model: load a checkpoint once, then caption images."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlrnn.data.images import open_image, pixels
from vlrnn.decoding.search import Decoding
from vlrnn.errors import UserError
from vlrnn.nn.context import Context
from vlrnn.records import Prediction
from vlrnn.tasks.captioning import Captioner, as_prediction
from vlrnn.tasks.checkpoint import load_task
from vlrnn.text.vocabulary import BOS

ImageLike = str | Path | Image.Image


class Predictor:
    """A captioner, ready to be asked.

    Args:
        task: trained.
        device: where it runs; by default a GPU where there is one.
    """

    def __init__(self, task: Captioner, device: str | torch.device | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.task = task.to(self.device).eval()
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
        decoding = self.decoding(**settings)
        generator = torch.Generator(self.device).manual_seed(seed)
        images = iter(images)
        while batch := list(islice(images, batch_size)):
            opened = [_open(image) for image in batch]
            good = [image for image in opened if isinstance(image, Image.Image)]
            sentences = iter(self.task.speak(self._see(good), decoding, generator) if good else ())
            for image, result in zip(batch, opened, strict=True):
                if isinstance(result, UserError):
                    yield result
                else:
                    name = str(getattr(image, "filename", image))
                    yield as_prediction(name, name, next(sentences), decoding.describe())

    @torch.no_grad()
    def attention(self, image: ImageLike, tokens: Iterable[str]) -> np.ndarray | None:
        """Where the model looks as it says these words, and then ends: weights [T + 1, N] over the regions, row by row
        of the grid; None when its decoder does not attend."""
        ids = torch.tensor([[BOS, *self.task.vocabulary.encode(tokens)]], device=self.device)
        result = _open(image)
        if isinstance(result, UserError):
            raise result
        memory = self.task.decoder.prepare(self._see([result]))
        attention = self.task.decoder.read(ids, memory, torch.zeros(1, dtype=torch.long, device=self.device)).attention
        return None if attention is None else attention[0].cpu().numpy()

    @torch.no_grad()
    def _see(self, images: list[Image.Image]) -> Context:
        stacked: Tensor = torch.stack([torch.from_numpy(pixels(image, self._encoder.size)) for image in images])
        return self._encoder(stacked.to(self.device))


def _open(image: ImageLike) -> Image.Image | UserError:
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    try:
        return open_image(image)
    except UserError as fault:
        return fault

"""From images in any form to batches: pixels that an encoder maps to regions, or stored regions found by name."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlrnn.data.batches import Batch, Item, collate
from vlrnn.data.images import ImageLike, pixels, read_image
from vlrnn.data.records import Example
from vlrnn.data.region_files import RegionFiles
from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import Context, Encoder
from vlrnn.nn.encoders.precomputed import PrecomputedRegions
from vlrnn.text.vocabulary import Vocabulary


class ImageReader:
    """Reads images at the size of an encoder, and encodes them.

    Args:
        encoder: of the model.
        device: where it runs.
    """

    def __init__(self, encoder: Encoder, device: torch.device) -> None:
        self._encoder = encoder
        self._device = device
        self._files: RegionFiles | None = None

    def read(self, image: ImageLike, number: int = 1) -> np.ndarray:
        """The pixels of an image, at the size that the encoder takes: a batch of photographs need not be held at their
        full size. For precomputed regions, those of an image of this name.

        Raises:
            UserError: the file is no image, or has no precomputed regions.
        """
        if isinstance(self._encoder, PrecomputedRegions):
            self._files = self._files or RegionFiles(self._encoder.path, self._encoder.feature_dim)
            return self._files[image_name(image, number)]
        return pixels(read_image(image, f"image {number}"), self._encoder.image_size)

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

    def batch(
        self,
        read: Sequence[np.ndarray],
        names: Sequence[str],
        questions: Sequence[str] | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> Batch:
        """A batch with the regions of B images.

        Args:
            read: the images, as `read` returned them.
            names: of the images; without questions also the ids of the examples.
            questions: one for each image, or any number about a single one; the ids of their examples are 1..M.
            vocabulary: of the questions.

        Raises:
            UserError: a question has no words, or the questions are not as many as the images.
        """
        regions = self.regions(read)
        if questions is None or vocabulary is None:
            examples = [(Example(name, name, name),) for name in names]
            return collate([Item(*each, []) for each in zip(examples, [None] * len(names), regions, strict=True)])
        if len(read) not in (1, len(questions)):
            raise UserError(f"{len(questions)} questions about {len(read)} images; give as many, or one image")
        if unknown := next((question for question in questions if not any(map(str.isalnum, question))), None):
            raise UserError(f"a question without words: {unknown!r}")
        rows = [[vocabulary.encode_text(question)] for question in questions]
        of_questions = [
            Example(number + 1, name, name, question=question)
            for number, question in enumerate(questions)
            for name in [names[number % len(names)]]
        ]
        if len(read) == 1:
            return collate([Item(tuple(of_questions), None, regions[0], [row for (row,) in rows])])
        return collate([Item((each,), None, *more) for each, *more in zip(of_questions, regions, rows, strict=True)])


def is_image(value: Any) -> bool:
    """Whether a value has the form of one image, in any form that `read_image` takes."""
    if isinstance(value, (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)) or hasattr(value, "read"):
        return True
    return isinstance(value, np.ndarray) and value.ndim < 4


def image_list(images: Any, user: str) -> Iterable[ImageLike]:
    """Several images: an iterable of them, an array of uint8 [B, H, W, 3], or a tensor of uint8 [B, 3, H, W].

    Args:
        images: in one of these forms.
        user: what takes them, for the error.

    Raises:
        UserError: it is one image, or none of these.
    """
    if isinstance(images, Tensor) and images.dtype == torch.uint8 and images.shape[1:2] == (3,) and images.ndim == 4:
        return list(images.permute(0, 2, 3, 1).cpu().numpy())
    if is_image(images) or isinstance(images, Tensor) or not isinstance(images, Iterable):
        raise UserError(f"{user} takes a list of images, not a {type(images).__name__}")
    return images


def image_name(image: ImageLike, number: int = 1) -> str:
    """The name of an image in a prediction: its file, or its number. Always text that can be written as UTF-8, which
    not every file's name is."""
    if isinstance(image, (str, os.PathLike)):
        name: Any = os.fspath(image)
    else:
        name = getattr(image, "filename", "") or getattr(image, "name", "")
    return os.fsencode(name if isinstance(name, str) and name else f"image {number}").decode(errors="replace")

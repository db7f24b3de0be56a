"""Data sets of captioned images and of images with questions, and their batches; perturbed views: blank or swapped
images, truncated or shuffled questions. An image is in a batch once, with all its captions or questions as rows."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vlrnn.data.feature_cache import FeatureCache
from vlrnn.data.images import open_image, pixels
from vlrnn.data.records import Example, Id
from vlrnn.data.region_files import RegionFiles
from vlrnn.errors import UserError
from vlrnn.text.vocabulary import PAD


class Batch(NamedTuple):
    """B images, and M rows of tokens: captions or questions.

    There are either `images` [B, 3, S, S] (uint8) or `regions` [B, N, D], from the feature cache. `tokens` [M, T] are
    padded with `<pad>`; captions start with `<bos>` and end with `<eos>`. Row m belongs to image `image_index[m]`.
    `examples` are the records: one for each image with its captions, or one for each question. A `repeated` batch has
    weight zero: it fills in for a process that has no batch left.

    Tokens stay on the CPU, so that packing does not synchronize a GPU; they are moved where they are embedded.
    """

    images: Tensor | None
    regions: Tensor | None
    tokens: Tensor
    image_index: Tensor
    examples: tuple[Example, ...]
    repeated: bool = False

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """Move images or regions to a device; called by Lightning."""
        images, regions = (
            None if each is None else each.to(device, non_blocking=non_blocking) for each in (self.images, self.regions)
        )
        return self._replace(images=images, regions=regions)


class Item(NamedTuple):
    """One image of a batch: pixels [3, S, S] or regions [N, D], its examples, and its rows of token ids."""

    examples: tuple[Example, ...]
    pixels: Tensor | None
    regions: Tensor | None
    rows: list[list[int]]


class Images(Dataset[Item]):
    """Base of data sets of captions and of questions: loads pixels or cached regions.

    Args:
        locate: image name -> file.
        size: side in pixels of the square to which images are resized, without keeping the aspect ratio.
        encode: a caption or question -> token ids.
        cache: of regions; None: pixels are loaded.
    """

    def __init__(
        self,
        locate: Callable[[str], Path],
        size: int,
        encode: Callable[[str], list[int]],
        cache: FeatureCache | RegionFiles | None = None,
    ) -> None:
        self.locate = locate
        self.size = size
        self.encode = encode
        self.cache = cache

    def item(self, examples: tuple[Example, ...], texts: Sequence[str]) -> Item:
        """The item of examples with the same image."""
        image = examples[0].image
        rows = [self.encode(text) for text in texts]
        if self.cache is not None:
            return Item(examples, None, torch.from_numpy(self.cache[image].copy()), rows)
        return Item(examples, torch.from_numpy(pixels(open_image(self.locate(image)), self.size)), None, rows)


class CaptionedImages(Images):
    """The examples of a split, each with its captions.

    Args:
        examples: of a split.
        captions: number of captions sampled for an example at each access; None: all.
        more: arguments of `Images`.
    """

    def __init__(self, examples: Sequence[Example], captions: int | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.examples = examples
        self.captions = captions

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Item:
        example = self.examples[index]
        captions = example.captions
        if self.captions is not None:
            captions = tuple(captions[number] for number in torch.randperm(len(captions))[: self.captions].tolist())
        return self.item((example,), captions)


class QuestionedImages(Images):
    """The images of a split, each with all its questions.

    Args:
        examples: of a split, one question each.
        image_index: [E], index of each example's image, from 0.
        more: arguments of `Images`.
    """

    def __init__(self, examples: Sequence[Example], image_index: np.ndarray, **more: Any) -> None:
        super().__init__(**more)
        self.examples = examples
        self._order = image_index.argsort(kind="stable")
        self._ends = np.bincount(image_index).cumsum()

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Item:
        index = range(len(self))[index]
        start = self._ends[index - 1] if index else 0
        examples = tuple(self.examples[number] for number in self._order[start : self._ends[index]].tolist())
        return self.item(examples, [example.question or "" for example in examples])


def collate(items: Sequence[Item]) -> Batch:
    """Make a batch: images are stacked, regions padded with zeros, rows padded with `<pad>`."""
    rows = [torch.tensor(row, dtype=torch.long) for item in items for row in item.rows]
    image_index = [index for index, item in enumerate(items) for _ in item.rows]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, True, PAD) if rows else torch.empty(0, 2, dtype=torch.long)
    if not tokens.shape[1]:  # all questions are empty
        tokens = tokens.new_full((len(rows), 1), PAD)
    images = [item.pixels for item in items if item.pixels is not None]
    regions = [item.regions for item in items if item.regions is not None]
    return Batch(
        torch.stack(images) if images else None,
        torch.nn.utils.rnn.pad_sequence(regions, True) if regions else None,
        tokens,
        torch.tensor(image_index, dtype=torch.long),
        tuple(example for item in items for example in item.examples),
    )


View = Callable[[Item], Item]
"""Maps an item (an image with its questions) to an item. Ids and references are unchanged, so that predictions for a
view are scored as those for the original."""


def constant_image(regions: Tensor) -> View:
    """Every image has the same `regions` [N, D], for example of a blank image, or the mean of all images."""
    return lambda item: item._replace(pixels=None, regions=regions)


def swapped_images(others: Mapping[Id, Id], regions_of: Callable[[Id], Tensor]) -> View:
    """Every image is replaced by another one.

    Args:
        others: image id -> id of the image that replaces it; see `derangement`.
        regions_of: image id -> regions [N, D].
    """
    return lambda item: item._replace(pixels=None, regions=regions_of(others[item.examples[0].image_id]))


def first_words(count: int) -> View:
    """Questions are truncated to their first words."""
    return lambda item: item._replace(rows=[row[:count] for row in item.rows])


def shuffled_words(seed: int = 0) -> View:
    """The words of each question are shuffled; the order depends on the id of the question and the seed only."""

    def shuffle(row: list[int], id: Id) -> list[int]:
        return random.Random(f"{seed} {id}").sample(row, len(row))

    return lambda item: item._replace(
        rows=[shuffle(row, example.id) for row, example in zip(item.rows, item.examples, strict=True)]
    )


def derangement(ids: Iterable[Id], seed: int = 0) -> dict[Id, Id]:
    """A random permutation of ids without fixed points, one cycle through all; independent of the order of `ids`.

    Raises:
        UserError: there are fewer than two.
    """
    order = sorted(set(ids), key=str)
    if len(order) < 2:
        raise UserError(f"exchanging images needs at least two images; there are {len(order)}")
    random.Random(seed).shuffle(order)
    return dict(zip(order, [*order[1:], order[0]], strict=True))

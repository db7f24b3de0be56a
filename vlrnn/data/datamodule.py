"""From a prepared data set to batches in which an image stands once, whatever is said about it."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vlrnn.data.features import FeatureCache, open_cache
from vlrnn.data.images import open_image, pixels
from vlrnn.errors import UserError
from vlrnn.nn.encoders import Encoder
from vlrnn.records import SPLITS, Example, RecordFile, describe_dataset, open_split
from vlrnn.text.tokenizer import tokenize
from vlrnn.text.vocabulary import BOS, EOS, PAD, Vocabulary


class Batch(NamedTuple):
    """B images, and M rows of words about them.

    Either `images` [B, 3, S, S] (uint8) is there or `regions` [B, N, D], from the feature cache. `tokens` [M, T] open
    with `<bos>`, close with `<eos>`, and are filled up with `<pad>`; row m is about image `image_of[m]`. `examples` are
    the records that the batch is made of, one for each image.
    """

    images: Tensor | None
    regions: Tensor | None
    tokens: Tensor
    image_of: Tensor
    examples: tuple[Example, ...]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The batch with its tensors on a device; Lightning calls this."""
        moved: dict[str, Any] = {
            name: each.to(device, non_blocking=non_blocking)
            for name, each in self._asdict().items()
            if isinstance(each, Tensor)
        }
        return self._replace(**moved)


class Item(NamedTuple):
    """One example on its way into a batch: pixels [3, S, S] or regions [N, D], and its captions as ids."""

    example: Example
    pixels: Tensor | None
    regions: Tensor | None
    rows: list[list[int]]


class CaptionedImages(Dataset[Item]):
    """The examples of a split, each with its captions.

    Args:
        examples: of a split.
        locate: image name -> file.
        size: the side of the square that images are squeezed to.
        encode: caption -> ids.
        cache: where the regions are, when they need not be computed.
        captions: how many of its captions come with an example, drawn anew each time; None: all.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        locate: Callable[[str], Path],
        size: int,
        encode: Callable[[str], list[int]],
        cache: FeatureCache | None,
        captions: int | None = None,
    ) -> None:
        self.captions = captions
        self.examples = examples
        self.locate = locate
        self.size = size
        self.encode = encode
        self.cache = cache

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Item:
        example = self.examples[index]
        captions = example.captions
        if self.captions is not None:
            captions = tuple(captions[number] for number in torch.randperm(len(captions))[: self.captions].tolist())
        rows = [self.encode(caption) for caption in captions]
        if self.cache is not None:
            return Item(example, None, torch.from_numpy(self.cache[example.image].copy()), rows)
        image = pixels(open_image(self.locate(example.image)), self.size)
        return Item(example, torch.from_numpy(image), None, rows)


def collate(items: Sequence[Item]) -> Batch:
    """Make a batch: images are stacked, rows filled up with `<pad>` to the longest."""
    rows = [torch.tensor(row) for item in items for row in item.rows]
    image_of = [index for index, item in enumerate(items) for _ in item.rows]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, True, PAD) if rows else torch.empty(0, 2, dtype=torch.long)
    images = [item.pixels for item in items if item.pixels is not None]
    regions = [item.regions for item in items if item.regions is not None]
    return Batch(
        torch.stack(images) if images else None,
        torch.stack(regions) if regions else None,
        tokens,
        torch.tensor(image_of, dtype=torch.long),
        tuple(item.example for item in items),
    )


class VisionLanguageData(pl.LightningDataModule):
    """A prepared data set, for training, validation and test. What the encoder wants (size of images, cache) it reads
    off the task that it is used with.

    Args:
        root: the folder of the prepared data set.
        image_root: the folder that image paths are relative to; by default what `dataset.json` says, else `root`.
        batch_size: images in a batch.
        captions_per_image: how many of an image's captions, drawn anew each time, come with it in training; null: all.
        min_count: words that occur less often in the training captions are `<unk>`.
        max_length: words of a training caption; what lies behind is cut off.
        cache: the folder for encoder outputs; null computes them anew each time, as an encoder that learns needs it.
        num_workers: processes that load examples.
    """

    def __init__(
        self,
        root: str,
        image_root: str | None = None,
        batch_size: int = 32,
        captions_per_image: int | None = None,
        min_count: int = 5,
        max_length: int = 30,
        cache: str | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        at_least_one = {
            "batch_size": batch_size,
            "captions_per_image": captions_per_image,
            "min_count": min_count,
            "max_length": max_length,
        }
        for name, value in at_least_one.items():
            if value is not None and value < 1:
                raise UserError(f"data.{name} must be at least 1, not {value}")
        if num_workers < 0:
            raise UserError(f"data.num_workers must not be negative, not {num_workers}")
        self.root = Path(root)
        self.image_root = Path(image_root) if image_root else self.root / describe_dataset(root).get("image_root", ".")
        self.batch_size = batch_size
        self.captions_per_image = captions_per_image
        self.min_count = min_count
        self.max_length = max_length
        self.cache = cache
        self.num_workers = num_workers

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words of the training split, and of no other."""
        captions = (caption for example in open_split(self.root, "train") for caption in example.captions)
        return Vocabulary.count(map(tokenize, captions), self.min_count)

    @property
    def splits(self) -> list[str]:
        """The splits that are there."""
        return [split for split in SPLITS if (self.root / f"{split}.jsonl").is_file()]

    def locate(self, image: str) -> Path:
        """The file of an image."""
        return self.image_root / image

    def make_cache(
        self, encoder: Encoder, splits: Sequence[str], device: torch.device | str = "cpu"
    ) -> dict[str, FeatureCache]:
        """Make the encoder outputs of splits, or find them made.

        Raises:
            UserError: no cache folder is set, or as `open_cache` says.
        """
        if self.cache is None:
            raise UserError("data.cache names no folder for the encoder outputs")
        caches = {}
        for split in splits:
            images = {example.image: self.locate(example.image) for example in open_split(self.root, split)}
            name, workers = f"{self.root.name}-{split}", self.num_workers
            caches[split] = open_cache(self.cache, name, encoder, images, num_workers=workers, device=device)
        return caches

    def prepare_data(self) -> None:
        if self.cache is not None:
            self.make_cache(self._encoder(), self._used(), self._trainer().strategy.root_device)

    def setup(self, stage: str) -> None:
        for split in self._used():
            count = len(open_split(self.root, split))
            if split != "train" and count < 2:
                raise UserError(f"{self.root / split}.jsonl: scores take two images at least; there are {count}")
        self._caches = self.make_cache(self._encoder(), self._used()) if self.cache is not None else {}

    def _used(self) -> tuple[str, ...]:
        """The splits that the Trainer is about to use."""
        return {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}[self._trainer().state.fn or "fit"]

    def _trainer(self) -> pl.Trainer:
        if self.trainer is None:
            raise RuntimeError("the data module is set up by a Trainer")
        return self.trainer

    def _encoder(self) -> Encoder:
        encoder = self._trainer().lightning_module.encoder
        assert isinstance(encoder, Encoder)
        return encoder

    def _encode(self, caption: str) -> list[int]:
        return [BOS, *self.vocabulary.encode(tokenize(caption)[: self.max_length]), EOS]

    def loader(self, split: str) -> DataLoader[Batch]:
        """Batches of a split; those of train are shuffled."""
        examples: RecordFile[Example] = open_split(self.root, split)
        data = CaptionedImages(
            examples,
            self.locate,
            self._encoder().size,
            self._encode,
            self._caches.get(split),
            captions=self.captions_per_image if split == "train" else None,
        )
        return DataLoader(
            data,  # type: ignore[arg-type]
            self.batch_size,
            shuffle=split == "train",
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.loader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.loader("test")

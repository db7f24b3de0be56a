"""From a running text to batches: what Lightning asks for. Each row of a batch goes on where it stopped in the batch
before, so that a model can carry its state on."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vlrnn.data.loaders import ResumableLoader, UnpaddedSampler
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.files import read_text
from vlrnn.text.tokenizers import LMTokenizer
from vlrnn.text.vocabulary import BOS, Vocabulary

PASSAGE = 256
"""Units of a passage, in which a text is read that is scored, however it was learnt from."""

_SHARES = (0.9, 0.95)  # of a text, where train ends and where val does
_PART = 1 << 20  # units that are looked up at a time: as a list they take much more than as numbers


class TextBatch(NamedTuple):
    """The next window of B contiguous texts: `tokens` [B, 1 + T], the first of each row being what came last before it,
    `<bos>` where nothing did. `is_start` is true where the texts begin, from a new state; elsewhere the state
    is carried. `examples` has the window of each row as it is written, under the name of its place. None is
    `repeated`: every process has as many windows.
    """

    tokens: Tensor
    is_start: bool
    examples: tuple[Example, ...]
    repeated: bool = False

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "TextBatch":
        """The batch with its tensors on a device; Lightning calls this."""
        return self._replace(tokens=self.tokens.to(device, non_blocking=non_blocking))


class TextWindows(Dataset[TextBatch]):
    """A text, cut into contiguous pieces of the same length that are read side by side, window by window; what is left
    over behind the last piece is not read.

    Args:
        units: the text.
        tokens: [N], their ids.
        pieces: how many.
        width: T, units of a window; the last may be shorter. None: all of the piece.
        name: of the text; windows are called by it and the number of their first unit.
        mine: which of the pieces are in this one's batches.
    """

    def __init__(
        self, units: Sequence[str], tokens: Tensor, pieces: int, width: int | None, name: str, mine: range
    ) -> None:
        self.units = units
        self.length = len(tokens) // pieces
        self.width = width or self.length
        self.name = name
        self.starts = [self.length * piece for piece in mine]
        cut = tokens[: self.length * pieces].view(pieces, self.length)[mine.start : mine.stop]
        self.tokens = torch.nn.functional.pad(cut, (1, 0), value=BOS)

    def __len__(self) -> int:
        return -(-self.length // self.width)

    def __getitem__(self, index: int) -> TextBatch:
        start = range(0, self.length, self.width)[index]
        end = min(start + self.width, self.length)
        examples = tuple(self._example(piece + start, piece + end) for piece in self.starts)
        return TextBatch(self.tokens[:, start : end + 1].long(), start == 0, examples)

    def _example(self, start: int, end: int) -> Example:
        name = f"{self.name}-{start:09}"
        return Example(name, name, "", ("".join(self.units[start:end]),))


class TextDataModule(pl.LightningDataModule):
    """A running text, for training, validation and test.

    Args:
        root: a text file, of which the first 90 % are train, the next 5 % val and the last test, cut at ends of lines;
            or a folder with `train.txt`, `val.txt` and `test.txt`.
        tokenizer: what the text is read in, characters or words.
        batch_size: how many places train is read at side by side: it is cut into so many pieces.
        bptt_length: units after which training stops the gradient, while the state is carried on (truncated
            backpropagation
            through time: Williams and Peng 1990). null: it goes through all of a piece (full), and an epoch is a step.
        min_count: units that occur less often in train are `<unk>`.
        overfit: when given, so many first passages (256 units each) of train are all that there is to train on and to
            validate with.
    """

    has_questions = False

    def __init__(
        self,
        root: str,
        tokenizer: LMTokenizer,
        batch_size: int = 32,
        bptt_length: int | None = 128,
        min_count: int = 1,
        overfit: int | None = None,
    ) -> None:
        super().__init__()
        at_least_one = {
            "batch_size": batch_size,
            "bptt_length": bptt_length,
            "min_count": min_count,
            "overfit": overfit,
        }
        for name, value in at_least_one.items():
            if value is not None and value < 1:
                raise UserError(f"data.{name} must be at least 1, not {value}")
        self.root = Path(root)
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.bptt_length = bptt_length
        self.min_count = min_count
        self.overfit = overfit

    @property
    def place(self) -> dict[str, str]:
        """Where the data are, for results."""
        return {"data": str(self.root.resolve())}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The units of train, and of no other split."""
        return Vocabulary.count([self.split("train")], self.min_count)

    def split(self, name: str) -> Sequence[str]:
        """The units of a split.

        Raises:
            UserError: there is no such text.
        """
        if self.overfit is not None and name in ("train", "val"):
            return self.tokenizer.split(self._text("train"))[: self.overfit * PASSAGE]
        return self.tokenizer.split(self._text(name))

    def _text(self, split: str) -> str:
        if self.root.is_dir():
            return read_text(self.root / f"{split}.txt")
        text = read_text(self.root)
        first, second = (_line_end(text, int(share * len(text))) for share in _SHARES)
        return {"train": text[:first], "val": text[first:second], "test": text[second:]}[split]

    def setup(self, stage: str) -> None:
        """Read the texts that the Trainer is about to use.

        Raises:
            UserError: one is too short for its windows.
        """
        used = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}[self._trainer().state.fn or "fit"]
        self._windows = {split: self._cut(split) for split in used}

    def _cut(self, split: str) -> TextWindows:
        units = self.split(split)
        if split == "train":
            trainer = self._trainer()
            width, first = self.bptt_length, trainer.global_rank * self.batch_size
            pieces, mine = self.batch_size * trainer.world_size, range(first, first + self.batch_size)
            needed, hint = pieces * (width or 1), "lower data.batch_size or data.bptt_length"
        else:  # one text from its start to its end, in every process: what is known of it must not depend on them
            width, pieces, mine = PASSAGE, 1, range(1)
            needed, hint = PASSAGE + 1, "scores take two passages: give a longer text"
        if len(units) < needed:
            shape = f"{pieces} x {width}" if split == "train" and width else str(needed)
            raise UserError(
                f"{self.root}: {split} has {len(units):,} {self.tokenizer.name}, which is less than {shape}; {hint}"
            )
        return TextWindows(units, self._encode(units), pieces, width, split, mine)

    def _encode(self, units: Sequence[str]) -> Tensor:
        parts = (self.vocabulary.encode(units[start : start + _PART]) for start in range(0, len(units), _PART))
        return torch.from_numpy(np.concatenate([np.array(part, np.int32) for part in parts]))

    def _trainer(self) -> pl.Trainer:
        if self.trainer is None:
            raise RuntimeError("the data module is set up by a Trainer")
        return self.trainer

    def loader(self, split: str) -> DataLoader[TextBatch]:
        """The windows of a split, in their order."""
        windows = self._windows[split]
        # A process reads all windows, of its own pieces; the sampler that Lightning would deal out would skip some.
        sampler = UnpaddedSampler(windows, 1, 0) if self._trainer().world_size > 1 else None
        return (ResumableLoader if split == "train" else DataLoader)(windows, batch_size=None, sampler=sampler)  # type: ignore[arg-type,return-value]

    def train_dataloader(self) -> DataLoader[TextBatch]:
        return self.loader("train")

    def val_dataloader(self) -> DataLoader[TextBatch]:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[TextBatch]:
        return self.loader("test")


def _line_end(text: str, place: int) -> int:
    """Where the line ends that a place is in, if that is near."""
    return text.find("\n", place, place + len(text) // 100) + 1 or place

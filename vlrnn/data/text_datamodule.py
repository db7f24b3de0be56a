"""Lightning data module of a running text. Each row of a batch continues the same row of the batch before, so that the
state of a recurrence can be carried from batch to batch."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vlrnn.data.loaders import ResumableLoader, SplitDataModule, UnpaddedSampler
from vlrnn.data.records import Example
from vlrnn.errors import UserError, check_least
from vlrnn.files import read_text
from vlrnn.text.tokenizers import LMTokenizer
from vlrnn.text.vocabulary import BOS, Vocabulary

PASSAGE = 256
"""Units of a passage, the window of evaluation, independent of training."""

_SHARES = (0.9, 0.95)  # ends of train and val, as fractions of the text
_PART = 1 << 20  # units encoded at a time: a list of ids takes much more memory than a tensor


class TextBatch(NamedTuple):
    """The next window of B contiguous texts: `tokens` [B, 1 + T], the first of each row being the last token before the
    window, or `<bos>`. `is_start` is true at the start of the texts, where the state is initialised. `examples` has the
    text of each row's window. No batch is `repeated`, since all processes have the same number of windows.
    """

    tokens: Tensor
    is_start: bool
    examples: tuple[Example, ...]
    repeated: bool = False

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "TextBatch":
        """Move the tensors to a device; called by Lightning."""
        return self._replace(tokens=self.tokens.to(device, non_blocking=non_blocking))


class TextWindows(Dataset[TextBatch]):
    """A text, cut into contiguous pieces of equal length that are the rows of a batch, window by window; the remainder
    of the text is dropped.

    Args:
        units: of the text.
        tokens: [N], their ids.
        pieces: their number.
        width: T, units of a window; the last may be shorter. None: all of the piece.
        name: of the text; the id of a window is this name and the index of its first unit.
        mine: the pieces in the batches of this process.
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
        names = [f"{self.name}-{piece + start:09}" for piece in self.starts]
        texts = ["".join(self.units[piece + start : piece + end]) for piece in self.starts]
        examples = tuple(Example(name, name, "", (text,)) for name, text in zip(names, texts, strict=True))
        return TextBatch(self.tokens[:, start : end + 1].long(), start == 0, examples)


class TextDataModule(SplitDataModule):
    """A running text, for training, validation and test.

    Args:
        root: a text file, of which the first 90 % are train, the next 5 % val and the last test, cut at ends of lines;
            or a folder with `train.txt`, `val.txt` and `test.txt`.
        tokenizer: splits the text into characters or words.
        batch_size: number of contiguous pieces into which train is cut, the rows of a batch.
        bptt_length: units after which the gradient is truncated, while the state is carried on (truncated
            backpropagation through time: Williams and Peng 1990). null: full backpropagation; an epoch is one step.
        min_count: units that occur less often in train are `<unk>`.
        overfit: train and validate on this number of passages (256 units each), the first of train.
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
        self.root = Path(root)
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.bptt_length = bptt_length
        self.min_count = min_count
        self.overfit = overfit
        for name in ("batch_size", "bptt_length", "min_count", "overfit"):
            check_least(f"data.{name}", getattr(self, name))

    @property
    def place(self) -> dict[str, str]:
        """The path of the data, for result files."""
        return {"data": str(self.root.resolve())}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The units of train only."""
        return Vocabulary.count([self.split("train")], self.min_count)

    def split(self, name: str) -> Sequence[str]:
        """The units of a split.

        Raises:
            UserError: the file does not exist.
        """
        if self.overfit is not None and name in ("train", "val"):
            return self.tokenizer.split(self._text("train"))[: self.overfit * PASSAGE]
        return self.tokenizer.split(self._text(name))

    def _text(self, split: str) -> str:
        if self.root.is_dir():
            return read_text(self.root / f"{split}.txt")
        text = read_text(self.root)
        places = [int(share * len(text)) for share in _SHARES]
        # At the end of a line, if it is near.
        first, second = (text.find("\n", place, place + len(text) // 100) + 1 or place for place in places)
        return {"train": text[:first], "val": text[first:second], "test": text[second:]}[split]

    def setup(self, stage: str) -> None:
        """Read the texts that the Trainer is going to use.

        Raises:
            UserError: one is too short for its windows.
        """
        self._windows = {split: self._cut(split) for split in self.used_splits()}

    def _cut(self, split: str) -> TextWindows:
        units = self.split(split)
        if split == "train":
            trainer = self.attached_trainer()
            width, first = self.bptt_length, trainer.global_rank * self.batch_size
            pieces, mine = self.batch_size * trainer.world_size, range(first, first + self.batch_size)
            needed, hint = pieces * (width or 1), "lower data.batch_size or data.bptt_length"
        else:  # the whole text in every process, so that scores do not depend on their number
            width, pieces, mine = PASSAGE, 1, range(1)
            needed, hint = PASSAGE + 1, "scores need two passages: give a longer text"
        if len(units) < needed:
            shape = f"{pieces} x {width}" if split == "train" and width else str(needed)
            raise UserError(
                f"{self.root}: {split} has {len(units):,} {self.tokenizer.name}, which is less than {shape}; {hint}"
            )
        parts = (self.vocabulary.encode(units[start : start + _PART]) for start in range(0, len(units), _PART))
        tokens = torch.from_numpy(np.concatenate([np.array(part, np.int32) for part in parts]))
        return TextWindows(units, tokens, pieces, width, split, mine)

    def loader(self, split: str) -> DataLoader[TextBatch]:
        """The windows of a split, in order."""
        windows = self._windows[split]
        # Every process takes all windows, of its own pieces; the sampler that Lightning would add skips some.
        sampler = UnpaddedSampler(windows, 1, 0) if self.attached_trainer().world_size > 1 else None
        return (ResumableLoader if split == "train" else DataLoader)(windows, batch_size=None, sampler=sampler)  # type: ignore[arg-type,return-value]

"""Data loading: a loader that resumes in the middle of an epoch, and samplers for distributed training."""

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from vlrnn.data.batches import Batch
from vlrnn.errors import UserError


class SplitDataModule(pl.LightningDataModule):
    """Base of data modules with a `loader` for each split."""

    required = ("loader",)

    def loader(self, split: str) -> DataLoader[Any]:
        """The batches of a split."""
        raise NotImplementedError

    def attached_trainer(self) -> pl.Trainer:
        """The Trainer that uses this data module."""
        if self.trainer is None:
            raise RuntimeError("the data module is set up by a Trainer")
        return self.trainer

    def used_splits(self) -> tuple[str, ...]:
        """The splits that the Trainer is going to use."""
        stage = self.attached_trainer().state.fn or "fit"
        return {"fit": ("train", "val"), "validate": ("val",)}.get(stage, ("test",))

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader("train")

    def val_dataloader(self) -> DataLoader[Any]:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self.loader("test")

    predict_dataloader = test_dataloader


class ResumableLoader(DataLoader[Batch]):
    """A data loader whose state is torch's random state at the start of the epoch and the number of batches yielded
    since, from which the same epoch is resumed.

    Attributes:
        before_batch: called before each batch, before random numbers are drawn for it.
    """

    before_batch: Callable[[], None] | None = None
    _began: torch.Tensor  # torch's random state at the start of the epoch
    _given = 0
    _goes_on = False

    def state_dict(self) -> dict[str, Any]:
        """The position in the epoch, as plain data and a tensor."""
        given = {"given": self._given, "batches": len(self), "batch_size": self.batch_size}
        return {"began": self._began, "processes": _processes(), **given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the epoch of `state` in the current iteration.

        Raises:
            UserError: an epoch of `state` has another number of batches.
        """
        if state["batches"] != len(self):
            theirs = _size(state["batches"], state["processes"], state["batch_size"])
            ours = _size(len(self), _processes(), self.batch_size)
            raise UserError(
                f"the checkpoint's epochs have {theirs}, these have {ours}: to go on, training needs the data that it "
                "began with, and as many images in a step: data.batch_size times the number of processes"
            )
        if state["given"] < len(self):  # otherwise that epoch is complete
            self._began, self._given, self._goes_on = state["began"], state["given"], True

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._began, self._given = torch.get_rng_state(), 0
        return self._announced(super().__iter__())

    def _announced(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        while self._given < len(self):
            if self.before_batch is not None:
                self.before_batch()
            if self._goes_on:
                batches, self._goes_on = self._rest(), False
            self._given += 1
            batch = next(batches)
            last = self._given == len(self)
            yield batch._replace(repeated=True) if last and getattr(self.sampler, "repeats", False) else batch

    def _rest(self) -> Iterator[Batch]:
        # Batches before the position are loaded and dropped, so that random numbers of workers advance.
        with torch.random.fork_rng(devices=()):
            torch.set_rng_state(self._began)
            fold_in_rank()
            batches = super().__iter__()
            for _ in range(self._given):
                next(batches)
        return batches


def fold_in_rank() -> None:
    """Derive different random states for the processes from a common one; the first process keeps it."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    if rank:
        seed = int(torch.randint(2**31, ())) + rank
        torch.manual_seed(seed)  # also of GPUs
        random.seed(seed)
        np.random.seed(seed)


def _processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _size(batches: int, processes: int, batch_size: int | None) -> str:
    each = "" if batch_size is None else f" of {batch_size}"
    return f"{batches} batches{each} in {'1 process' if processes == 1 else f'each of {processes} processes'}"


class UnpaddedSampler(DistributedSampler):
    """Sampler of one process for evaluation: every item is in exactly one process, whereas torch's sampler repeats
    items so that all processes have the same number.

    Raises:
        UserError: there are fewer items than processes.
    """

    def __init__(self, items: Dataset[Any], processes: int, rank: int) -> None:
        super().__init__(items, processes, rank, shuffle=False)
        self._share = range(rank, len(items), processes)  # type: ignore[arg-type]
        if not self._share:
            raise UserError(f"there are fewer images to evaluate than processes ({processes}); lower trainer.devices")

    def __iter__(self) -> Iterator[int]:
        return iter(self._share)

    def __len__(self) -> int:
        return len(self._share)


class GlobalShuffleSampler(DistributedSampler):
    """Sampler of one process for training, in the order of a single process: the n-th batches of all P processes are
    together the n-th batch of one process with P times the batch size.

    All processes have the same number of batches, since they synchronize at each. A process without an item for its
    last batch repeats one, with weight zero.

    Args:
        items: of all processes.
        processes, rank: number of processes, and the index of this one.
        batch_size: of one process.

    Attributes:
        repeats: whether the last batch consists of a repeated item.
    """

    def __init__(self, items: Dataset[Any], processes: int, rank: int, batch_size: int) -> None:
        super().__init__(items, processes, rank)
        self._share = range(rank, len(items), processes)  # type: ignore[arg-type]
        batches = math.ceil(self.num_samples / batch_size)
        self.repeats = len(self._share) <= (batches - 1) * batch_size

    def __iter__(self) -> Iterator[int]:
        drawn = [int(torch.empty((), dtype=torch.int64).random_())]  # as RandomSampler does
        if dist.is_initialized():
            dist.broadcast_object_list(drawn)  # the random states of the processes differ
        size = len(self.dataset)  # type: ignore[arg-type]
        order = torch.randperm(size, generator=torch.Generator().manual_seed(drawn[0])).tolist()
        return iter([order[place] for place in self._share] + order[:1] * self.repeats)

    def __len__(self) -> int:
        return len(self._share) + self.repeats

"""Data loading: a loader that resumes in the middle of an epoch, and samplers of several processes."""

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from vlrnn.data.batches import Batch
from vlrnn.errors import UserError


class ResumableLoader(DataLoader[Batch]):
    """Batches whose order is drawn from torch's random numbers, as ever; its state says where those stood as the epoch
    began, and how many batches have been given. With both, the same epoch goes on behind the last one.

    Attributes:
        before_batch: called ahead of each batch, before anything is drawn for it.
    """

    before_batch: Callable[[], None] | None = None
    _began: torch.Tensor  # torch's random state as the epoch began
    _given = 0
    _goes_on = False

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch stands, as plain data."""
        given = {"given": self._given, "batches": len(self), "batch_size": self.batch_size}
        return {"began": self._began, "processes": _processes(), **given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the epoch that is under way be the rest of the one that `state` is of.

        Raises:
            UserError: an epoch had another number of batches.
        """
        if state["batches"] != len(self):
            theirs = _size(state["batches"], state["processes"], state["batch_size"])
            ours = _size(len(self), _processes(), self.batch_size)
            raise UserError(
                f"the checkpoint's epochs have {theirs}, these have {ours}: to go on, training needs the data that it "
                "began with, and as many images in a step: data.batch_size times the number of processes"
            )
        if state["given"] < len(self):  # else that epoch is over, and the next is a new one
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
        # What was given is loaded once more, and dropped: workers draw random numbers of their own on the way.
        with torch.random.fork_rng(devices=()):
            torch.set_rng_state(self._began)
            fold_in_rank()
            batches = super().__iter__()
            for _ in range(self._given):
                next(batches)
        return batches


def fold_in_rank() -> None:
    """Let each process of several draw random numbers of its own, where all stand at the same; those of the first are
    left as they are."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    if rank:
        seed = int(torch.randint(2**31, ())) + rank
        torch.manual_seed(seed)  # of GPUs, too
        random.seed(seed)
        np.random.seed(seed)


def _processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _size(batches: int, processes: int, batch_size: int | None) -> str:
    each = "" if batch_size is None else f" of {batch_size}"
    return f"{batches} batches{each} in {'1 process' if processes == 1 else f'each of {processes} processes'}"


class UnpaddedSampler(DistributedSampler):
    """The share of one process of what is evaluated: every item is in just one, where torch's sampler repeats some to
    even the processes out.

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
    """The share of one process of what is trained on, shuffled as one process alone shuffles it: what the n-th batches
    of all P processes hold together is its n-th batch of P times the size.

    All must have as many batches, as they wait for one another at each. Where the items are used up so that a process
    has none for its last batch, it takes one once more, which is to count nothing.

    Args:
        items: all of them.
        processes, rank: how many processes there are, and which one this is.
        batch_size: of one process.

    Attributes:
        repeats: whether all of the last batch is repeated.
    """

    def __init__(self, items: Dataset[Any], processes: int, rank: int, batch_size: int) -> None:
        super().__init__(items, processes, rank)
        self._share = range(rank, len(items), processes)  # type: ignore[arg-type]
        batches = math.ceil(self.num_samples / batch_size)
        self.repeats = len(self._share) <= (batches - 1) * batch_size

    def __iter__(self) -> Iterator[int]:
        drawn = [int(torch.empty((), dtype=torch.int64).random_())]  # as RandomSampler does
        if dist.is_initialized():
            dist.broadcast_object_list(drawn)  # each process draws other numbers
        size = len(self.dataset)  # type: ignore[arg-type]
        order = torch.randperm(size, generator=torch.Generator().manual_seed(drawn[0])).tolist()
        return iter([order[place] for place in self._share] + order[:1] * self.repeats)

    def __len__(self) -> int:
        return len(self._share) + self.repeats

"""How examples are dealt out to several processes. Lightning leaves samplers of this kind as they are."""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from vlrnn.errors import UserError


class EachOnce(DistributedSampler):
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


class OneOrder(DistributedSampler):
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

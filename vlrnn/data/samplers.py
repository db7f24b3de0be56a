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
    of all P processes hold together is its n-th batch of P times the size. Where P does not divide the items, the first
    of an epoch come once more at its end.
    """

    def __iter__(self) -> Iterator[int]:
        drawn = [int(torch.empty((), dtype=torch.int64).random_())]  # as RandomSampler does
        if dist.is_initialized():
            dist.broadcast_object_list(drawn)  # dropout has taken other numbers in each process
        size = len(self.dataset)  # type: ignore[arg-type]
        order = torch.randperm(size, generator=torch.Generator().manual_seed(drawn[0])).tolist()
        order *= math.ceil(self.total_size / size)
        return iter(order[self.rank : self.total_size : self.num_replicas])

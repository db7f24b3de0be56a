"""A loader of batches that can be taken up again in the middle of an epoch. Knows nothing of training."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

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
        return {"began": self._began, "given": self._given, "batches": len(self)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the epoch that is under way be the rest of the one that `state` is of.

        Raises:
            UserError: an epoch had another number of batches.
        """
        if state["batches"] != len(self):
            raise UserError(
                f"the checkpoint's epochs have {state['batches']} batches, these have {len(self)}: to go on, training "
                "needs the data and the batch size that it began with"
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
            yield next(batches)

    def _rest(self) -> Iterator[Batch]:
        # What was given is loaded once more, and dropped: workers draw random numbers of their own on the way.
        with torch.random.fork_rng(devices=()):
            torch.set_rng_state(self._began)
            batches = super().__iter__()
            for _ in range(self._given):
                next(batches)
        return batches

"""The small trainings of studies."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vlrnn.errors import UserError

Batch = TypeVar("Batch")


class TaskBatch(NamedTuple):
    """Rows of a small task, and their targets."""

    inputs: Tensor
    targets: Tensor


def fit_small(
    batches: Iterable[Batch],
    loss: Callable[[Batch], Tensor],
    optimizer: Optimizer,
    schedule: LRScheduler | None = None,
    clip: float | None = None,
) -> None:
    """Take a step of an optimizer for each batch.

    Args:
        batches: taken one at a time, each before its step.
        loss: of a batch, a scalar.
        optimizer: of the parameters.
        schedule: of the learning rate, a step for each batch.
        clip: the largest norm of the gradient of all parameters; by default no limit.
    """
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for batch in batches:
        optimizer.zero_grad()
        loss(batch).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        if schedule is not None:
            schedule.step()


def require_least(plan: object, **least: int) -> None:
    """Check fields of a plan.

    Raises:
        UserError: one is smaller than its least value; names its flag.
    """
    for name, value in least.items():
        if getattr(plan, name) < value:
            raise UserError(f"--{name} must be at least {value}, not {getattr(plan, name)}")


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread. On small matrices several threads mostly wait for each other, and much longer where other
    processes use the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

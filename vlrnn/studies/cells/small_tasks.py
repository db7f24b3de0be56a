"""Small synthetic regression tasks for networks of one hidden layer: the brightness of an input, its number of ones or
objects, the distance of its halves.

Networks of many draws are trained in parallel. Shapes: S networks, B rows, I numbers of an input, H hidden units.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vlrnn.errors import UserError
from vlrnn.studies.fitting import TaskBatch, fit_small

INPUTS, HIDDEN = 64, 32
WHERE = ("nothing", "input", "hidden layer")
"""The values that are normalised, row by row."""

EPSILON = 1e-12
"""Under the root of a normalisation: small, so that the output does not depend on the scale of the input."""

_KINDS, _MOST = 8, 8  # of objects, and how many at most
_ROWS, _TESTED = 64, 1000
_RATE = 2e-2


class SmallTaskResult(NamedTuple):
    """Of each network [S]: the root mean square `error` over new rows, and that of a prediction of the mean, `chance`;
    and the number of hidden units that differ from all others, `distinct` before training and `distinct_after` it."""

    error: np.ndarray
    chance: np.ndarray
    distinct: np.ndarray
    distinct_after: np.ndarray


def brightness(rows: int, drawing: Generator) -> TaskBatch:
    """Noise around a mean, the target."""
    mean = 0.2 + 0.6 * _uniform(rows, 1, drawing)
    return TaskBatch(mean + 0.2 * (2 * _uniform(rows, INPUTS, drawing) - 1), mean[:, 0])


def ones(rows: int, drawing: Generator) -> TaskBatch:
    """Ones at random places among zeros, whose share is the target."""
    count = torch.randint(1, INPUTS, (rows, 1), generator=drawing)
    order = torch.rand(rows, INPUTS, generator=drawing).argsort(1)
    return TaskBatch((order < count).double(), count[:, 0] / INPUTS)


def objects(rows: int, drawing: Generator) -> TaskBatch:
    """Objects of one kind, each of which adds the same, as in a sum over regions; the target is their number as a share
    of the largest number."""
    kind = F.one_hot(torch.randint(_KINDS, (rows,), generator=drawing), _KINDS)
    share = torch.randint(1, _MOST + 1, (rows,), generator=drawing) / _MOST
    return TaskBatch(kind.repeat_interleave(INPUTS // _KINDS, 1) * share[:, None].double(), share)


def contrast(rows: int, drawing: Generator) -> TaskBatch:
    """Noise around the means of two halves, whose distance is the target: it needs two hidden units."""
    means = 0.2 + 0.6 * _uniform(rows, 2, drawing)
    noise = 0.1 * (2 * _uniform(rows, INPUTS, drawing) - 1)
    return TaskBatch(means.repeat_interleave(INPUTS // 2, 1) + noise, (means[:, 0] - means[:, 1]).abs())


TASKS: dict[str, Callable[[int, Generator], TaskBatch]] = {
    each.__name__: each for each in (brightness, ones, objects, contrast)
}
"""Each draws rows: inputs [B, I], and targets [B] in 0..1."""


def _uniform(rows: int, columns: int, drawing: Generator) -> Tensor:
    return torch.rand(rows, columns, generator=drawing, dtype=torch.float64)


class _Networks:
    """S networks [B, I] -> [B], f(x) = v tanh(W x + b) + c."""

    def __init__(self, fill: Callable[[Tensor], object], networks: int, normalised: str) -> None:
        if normalised not in WHERE:
            raise UserError(f"{normalised}: cannot be normalised; it is one of {', '.join(WHERE)}")
        drawn = [(_filled(fill, HIDDEN, INPUTS), _filled(fill, 1, HIDDEN)) for _ in range(networks)]
        inner, outer = (torch.stack(each).requires_grad_() for each in zip(*drawn, strict=True))
        biases = [inner.new_zeros(networks, 1, width).requires_grad_() for width in (HIDDEN, 1)]
        self.inner, self.outer, self.biases, self.normalised = inner, outer, biases, normalised

    @property
    def parameters(self) -> list[Tensor]:
        return [self.inner, self.outer, *self.biases]

    def hidden(self, inputs: Tensor) -> Tensor:
        """Activations of the hidden units for inputs [S, B, I]: [S, B, H]."""
        if self.normalised == "input":
            inputs = _norm(inputs)
        sums = torch.baddbmm(self.biases[0], inputs, self.inner.mT)
        return torch.tanh(_norm(sums) if self.normalised == "hidden layer" else sums)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs [S, B, I] -> [S, B]."""
        return torch.baddbmm(self.biases[1], self.hidden(inputs), self.outer.mT)[..., 0]


def learn(
    task: str, normalised: str, fill: Callable[[Tensor], object], networks: int, steps: int, seed: int = 0
) -> SmallTaskResult:
    """Train networks on a task by Adam, with a learning rate that falls to 0.

    Args:
        task: one of `TASKS`.
        normalised: one of `WHERE`.
        fill: draws a weight matrix [out, in] into one. Biases are zero.
        networks: S; each has rows of its own.
        steps: of training.
        seed: of weights and rows.
    """
    torch.manual_seed(seed)
    drawing = Generator().manual_seed(seed)
    learning = _Networks(fill, networks, normalised)
    optimizer = torch.optim.Adam(learning.parameters, _RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    tested = _draw_batch(task, networks, _TESTED, drawing)
    distinct = _distinct(learning, tested.inputs)
    batches = (_draw_batch(task, networks, _ROWS, drawing) for _ in range(steps))
    fit_small(batches, lambda each: (learning(each.inputs) - each.targets).square().mean(1).sum(), optimizer, schedule)
    with torch.no_grad():
        error = (learning(tested.inputs) - tested.targets).square().mean(1).sqrt()
    chance = tested.targets.std(1, correction=0)
    return SmallTaskResult(error.numpy(), chance.numpy(), distinct, _distinct(learning, tested.inputs))


def distinct_units(outputs: Tensor) -> int:
    """The number of units that differ from all others, by their outputs for some rows [B, H]. Less than a thousandth of
    the largest number is no difference: rounding is not the same for all units, and grows in training."""
    largest = outputs.abs().max().clamp(min=torch.finfo(outputs.dtype).tiny)
    return torch.unique((1000 * outputs / largest).round(), dim=1).shape[1]


def _distinct(learning: _Networks, inputs: Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.array([distinct_units(each) for each in learning.hidden(inputs)], float)


def _draw_batch(task: str, networks: int, rows: int, drawing: Generator) -> TaskBatch:
    """Rows for each network: [S, B, I], and targets [S, B]."""
    batch = TASKS[task](networks * rows, drawing)
    return TaskBatch(*(each.unflatten(0, (networks, rows)) for each in batch))


def _filled(fill: Callable[[Tensor], object], outputs: int, inputs: int) -> Tensor:
    weight = torch.empty(outputs, inputs, dtype=torch.float64)
    fill(weight)
    return weight


def _norm(numbers: Tensor) -> Tensor:
    return F.layer_norm(numbers, numbers.shape[-1:], eps=EPSILON)

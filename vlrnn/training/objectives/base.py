"""The interface of objectives, what training minimises.

An objective is given to a task (`model.init_args.objective` of a recipe) and is no part of the model: checkpoints are
loaded for inference without it. It uses a task through a protocol, which it names in `task_type`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vlrnn.config import Configurable


@dataclass(frozen=True)
class Loss:
    """A `total` to backpropagate and the `count` of words, answers or captions that it sums over, both scalars; and
    further scalars for the log, by name, in `logged`.

    Totals are divided by the global count once, so that gradient accumulation and several processes give the numbers of
    one process.
    """

    total: Tensor
    count: Tensor
    logged: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(Configurable, nn.Module):
    """The interface.

    Attributes:
        task_type: the runtime-checkable protocol of the tasks that can be trained with it; by default any task.
    """

    task_type: type = object

    def setup(self, task: Any, data: Any) -> None:
        """Read what is needed of the training split, once before training.

        Args:
            task: that is trained.
            data: the data module; None where a Trainer is given loaders without one.
        """

    def loss(self, task: Any, batch: Any) -> Loss:
        """The loss of a batch, in training and in validation (`self.training`)."""
        raise NotImplementedError


def mean_loss(losses: Iterable[Loss]) -> Loss:
    """The mean of the losses of the members of an ensemble, all of which have the same count."""
    losses = list(losses)
    return Loss(torch.stack([each.total for each in losses]).mean(), losses[0].count)


_PREFIX = "objective."


def split_weights(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of a task as those of its model and those of its objective, under their names in the task."""
    model = {name: each for name, each in weights.items() if not name.startswith(_PREFIX)}
    return model, {name: each for name, each in weights.items() if name.startswith(_PREFIX)}

"""The interface of objectives, what training minimises; cross entropy over words and over running text.

An objective is given to a task (`model.init_args.objective` of a recipe) and is no part of the model: checkpoints are
loaded for inference without it. It uses a task through a protocol, which it names in `task_type`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.nn.decoders.base import Decoder, DecoderOutput
from vlrnn.text.vocabulary import PAD


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

    required = ("loss",)
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


def check_loss(loss: Any, origin: type) -> Loss:
    """The loss that a class returned.

    Raises:
        UserError: it is no Loss of two scalars.
    """
    if not isinstance(loss, Loss):
        raise UserError(f"{origin.__name__}.loss must return a Loss(total, count), not a {type(loss).__name__}")
    for name in ("total", "count"):
        if not isinstance(value := getattr(loss, name), Tensor) or value.dim():
            found = list(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise UserError(f"{origin.__name__}.loss: {name} must be a tensor without dimensions, a sum, not {found}")
    return loss


def mean_loss(losses: Iterable[Loss]) -> Loss:
    """The mean of the losses of the members of an ensemble, all of which have the same count."""
    losses = list(losses)
    return Loss(torch.stack([each.total for each in losses]).mean(), losses[0].count)


_PREFIX = "objective."


def split_weights(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of a task as those of its model and those of its objective, under their names in the task."""
    model = {name: each for name, each in weights.items() if not name.startswith(_PREFIX)}
    return model, {name: each for name, each in weights.items() if name.startswith(_PREFIX)}


class TeacherForced(NamedTuple):
    """The `output` of a `decoder` for M rows of a batch, and their `targets` [M, T], padded with `<pad>`."""

    decoder: Decoder
    output: DecoderOutput
    targets: Tensor


@runtime_checkable
class TeacherForcingTask(Protocol):
    """A task whose decoder is trained on given texts."""

    def teacher_forced(self, batch: Any) -> Iterable[TeacherForced]:
        """The outputs for a batch, of each member of an ensemble; of one model a single one."""


@runtime_checkable
class RunningTextTask(Protocol):
    """A task that is trained on windows of a running text."""

    def token_log_probs(self, batch: Any) -> Tensor:
        """The natural log probability [B, T] of each token of a batch."""


class CrossEntropy(Objective):
    """Cross entropy of the next word, in nats, summed over words; and the doubly stochastic penalty of decoders with
    attention.

    The penalty is weight * sum over captions and regions of (1 - sum over words of alpha)^2 (Xu et al. 2015, eq. 14):
    the attention to each region over a sentence should sum to about one. As in the paper it is added to the sum of the
    words' cross entropies: a sum over captions, divided by the count of words with them.

    Args:
        label_smoothing: share of the target's probability that is spread over all words (Szegedy et al. 2016).
        doubly_stochastic_weight: the penalty's weight; the paper's is 1.
    """

    task_type = TeacherForcingTask

    def __init__(self, label_smoothing: float = 0.0, doubly_stochastic_weight: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.doubly_stochastic_weight = doubly_stochastic_weight

    def loss(self, task: TeacherForcingTask, batch: Any) -> Loss:
        return mean_loss(self(*each) for each in task.teacher_forced(batch))

    def forward(self, decoder: Decoder, output: DecoderOutput, targets: Tensor) -> Loss:
        """The loss of a decoder's output for M rows with targets [M, T], padded with `<pad>`, which is not scored.
        Targets on the CPU spare waiting for a GPU."""
        device = output.hidden.device
        mask = targets != PAD
        places = mask.flatten().nonzero()[:, 0].to(device, non_blocking=True)  # [L]
        words = targets[mask].to(device, non_blocking=True)
        logits = decoder.logits(output.hidden.flatten(0, 1).index_select(0, places)).float()  # [L, V]
        total = F.cross_entropy(logits, words, reduction="sum", label_smoothing=self.label_smoothing)
        mask = mask.to(device, non_blocking=True)
        if self.doubly_stochastic_weight and output.attention is not None:
            attended = (output.attention * mask[..., None]).sum(1)  # [M, N]
            total = total + self.doubly_stochastic_weight * (1 - attended).square().sum()
        return Loss(total, mask.sum())


class TokenCrossEntropy(Objective):
    """Cross entropy of each token of a running text, in nats, summed over tokens."""

    task_type = RunningTextTask

    def loss(self, task: RunningTextTask, batch: Any) -> Loss:
        log_probs = task.token_log_probs(batch)
        return Loss(-log_probs.sum(), log_probs.new_full((), log_probs.numel()))

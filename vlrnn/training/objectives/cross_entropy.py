"""Cross-entropy over words, with label smoothing and the doubly stochastic penalty of attention; and over running
text."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch.nn.functional as F
from torch import Tensor

from vlrnn.nn.decoders.base import Decoder, DecoderOutput
from vlrnn.text.vocabulary import PAD
from vlrnn.training.objectives.base import Loss, Objective, mean_loss


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

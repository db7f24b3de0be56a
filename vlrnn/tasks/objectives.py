"""What training minimises. A loss is a sum and a count: sums are backpropagated, and divided by the global count of words once,
so that gradient accumulation and several processes give the numbers of one process."""

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from vlrnn.nn.decoders import Reading
from vlrnn.parts import Part
from vlrnn.text.vocabulary import PAD


class Loss(NamedTuple):
    """A `total` to backpropagate, a scalar, and the `count` of words that it is about, a scalar."""

    total: Tensor
    count: Tensor


@dataclass(frozen=True)
class WordLoss(Part):
    """Cross entropy of the next word, in nats, summed over words; and the doubly stochastic penalty of decoders that attend.

    The penalty is weight * sum over captions and regions of (1 - sum over words of alpha)^2 (Xu et al. 2015, eq. 14): each
    region should be looked at about once in a sentence. As in the paper it stands beside the sum of the words' cross entropies;
    so it is a sum over captions, and is divided by the count of words with it.

    Attributes:
        label_smoothing: share of the target's probability that is spread over all words (Szegedy et al. 2016).
        doubly_stochastic: the penalty's weight; the paper's is 1.
    """

    label_smoothing: float = 0.0
    doubly_stochastic: float = 0.0

    def __call__(self, reading: Reading, targets: Tensor) -> Loss:
        """Reading of M rows, targets [M, T] that are filled up with `<pad>` -> the loss."""
        there = targets != PAD
        total = F.cross_entropy(
            reading.logits.flatten(0, 1).float(),
            targets.flatten(),
            ignore_index=PAD,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        if self.doubly_stochastic and reading.attention is not None:
            looked = (reading.attention * there[..., None]).sum(1)  # [M, N]
            total = total + self.doubly_stochastic * (1 - looked).square().sum()
        return Loss(total, there.sum())

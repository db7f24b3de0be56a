"""The loss of a batch as a sum and a count.

Sums are backpropagated and divided by the global count once, so that gradient accumulation and several processes give
the numbers of one process.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """A `total` to backpropagate and the `count` of words or answers that it sums over, both scalars."""

    total: Tensor
    count: Tensor

"""The loss of a batch as a sum and a count.

Sums are backpropagated and divided by the global count once, so that gradient accumulation and several processes give
the numbers of one process.
"""

from typing import NamedTuple

from torch import Tensor


class Loss(NamedTuple):
    """A `total` to backpropagate, a scalar, and the number of `words` that it is about, a scalar."""

    total: Tensor
    words: Tensor

"""Pooling over time: from what a recurrence said at every step to one vector. Knows no recurrence."""

import torch
from torch import Tensor, nn

from vlrnn.nn.layout import within
from vlrnn.parts import Part


class Pooling(Part, nn.Module):
    """The interface. A row of no steps is zeros; what lies past its length never counts."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Outputs [B, T, D] of rows that are `lengths` [B] long, 0..T -> [B, D]."""
        raise NotImplementedError


class Last(Pooling):
    """What was said at the last step: the recurrence itself must carry there all that counts."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        lengths = lengths.to(outputs.device, non_blocking=True)
        rows = torch.arange(len(outputs), device=outputs.device)
        return torch.where((lengths > 0)[:, None], outputs[rows, (lengths - 1).clamp(min=0)], 0.0)


class Mean(Pooling):
    """The mean over steps: every step is as near to the loss as the last (gradients need not go far), and none stands
    out."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        there = within(lengths, outputs)[..., None]
        return outputs.where(there, 0.0).sum(1) / there.sum(1).clamp(min=1)


class Max(Pooling):
    """The largest value of each number over steps: whether something was there at all, whenever (Collobert and Weston
    2008; over recurrences: Conneau et al. 2017, section 3.2.2)."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        there = within(lengths, outputs)[..., None]
        return outputs.where(there, -torch.inf).amax(1).where(there.any(1), 0.0)

"""Pooling over time: from what a recurrence said at every step to one vector. Knows no recurrence."""

import torch
from torch import Tensor, nn

from vlrnn.parts import Part


class Pooling(Part, nn.Module):
    """The interface. A row of no steps is zeros; what lies past its length never counts."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Outputs [B, T, D] of rows that are `lengths` [B] long, 0..T -> [B, D]."""
        raise NotImplementedError


class Last(Pooling):
    """What was said at the last step: the recurrence itself must carry there all that counts."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        rows = torch.arange(len(outputs), device=outputs.device)
        return torch.where((lengths > 0)[:, None], outputs[rows, (lengths - 1).clamp(min=0)], 0.0)


class Mean(Pooling):
    """The mean over steps: every step is as near to the loss as the last (gradients need not go far), and none stands
    out."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        there = _there(outputs, lengths)
        return outputs.where(there, 0.0).sum(1) / lengths.clamp(min=1)[:, None]


class Max(Pooling):
    """The largest value of each number over steps: whether something was there at all, whenever (Collobert and Weston
    2008; over recurrences: Conneau et al. 2017, section 3.2.2)."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        largest = outputs.where(_there(outputs, lengths), -torch.inf).amax(1)
        return torch.where((lengths > 0)[:, None], largest, 0.0)


def _there(outputs: Tensor, lengths: Tensor) -> Tensor:
    """Which steps are within their row: [B, T, 1]."""
    return (torch.arange(outputs.shape[1], device=outputs.device) < lengths[:, None])[..., None]

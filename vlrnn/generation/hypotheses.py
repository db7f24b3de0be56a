"""The hypotheses of a search: K live ones of each item, which grow, and a pool of the best K that have finished.

Shapes: b items, K hypotheses, t tokens. Sums are of log p, never above 0; minus infinity where there is no hypothesis.
"""

import math
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor


def ranks(sums: Tensor, length: int, length_penalty: float) -> Tensor:
    """What orders hypotheses of this length as sum / length ** length_penalty does: minus the log of its magnitude,
    which stays in float32's range whatever the penalty is."""
    return length_penalty * math.log(length) - sums.neg().clamp(min=0).log()


class Candidates(NamedTuple):
    """Continuations [b, C] of an item's live hypotheses: `parents`, which hypothesis; `tokens`, by what; `sums`, what
    that comes to."""

    parents: Tensor
    tokens: Tensor
    sums: Tensor


class Live(NamedTuple):
    """Hypotheses that go on, an item's best first: `tokens` [b, K, t + 1], `<bos>` first; `sums` [b, K]; `parents`
    [b, K], which hypothesis of the step before each was."""

    tokens: Tensor
    sums: Tensor
    parents: Tensor

    @classmethod
    def start(cls, items: int, width: int, bos: int, device: torch.device) -> Self:
        """K hypotheses of no words."""
        parents = torch.arange(width, device=device).repeat(items, 1)
        return cls(torch.full((items, width, 1), bos, device=device), torch.zeros(items, width, device=device), parents)

    def grow(self, found: Candidates, ends: Tensor) -> Self:
        """The best K candidates that do not end."""
        sums, chosen = found.sums.masked_fill(ends, -torch.inf).topk(self.sums.shape[1])
        parents = found.parents.gather(1, chosen)
        return type(self)(extended(self.tokens, parents, found.tokens.gather(1, chosen)), sums, parents)


class Pool(NamedTuple):
    """Hypotheses that have finished, an item's best first: `tokens` [b, K, t] without `<bos>`, filled up with `<eos>`;
    `lengths` [b, K], `<eos>` counted, 0 where there is no hypothesis; `sums` [b, K]; `ranks` [b, K]."""

    tokens: Tensor
    lengths: Tensor
    sums: Tensor
    ranks: Tensor

    @classmethod
    def start(cls, items: int, width: int, device: torch.device) -> Self:
        """Nothing has finished."""
        nothing = torch.full((items, width), -torch.inf, device=device)
        lengths = torch.zeros(items, width, dtype=torch.long, device=device)
        return cls(lengths[..., None][..., :0], lengths, nothing, nothing)

    def add(self, live: Live, found: Candidates, ends: Tensor, length_penalty: float, eos: int) -> Self:
        """Keep the best K of those that are in and of those that end among the first K candidates."""
        width, length = self.sums.shape[1], live.tokens.shape[2]
        ends = ends[:, :width] & (found.sums[:, :width] > -torch.inf)
        if not ends.any():
            return self
        sums = found.sums[:, :width].masked_fill(~ends, -torch.inf)
        new = type(self)(
            extended(live.tokens, found.parents[:, :width], found.tokens[:, :width])[:, :, 1:],
            ends * length,
            sums,
            ranks(sums, length, length_penalty),
        )
        both = type(self)(*(torch.cat(pair, 1) for pair in zip(self.filled(length, eos), new, strict=True)))
        _, chosen = both.ranks.topk(width)
        tokens = both.tokens.gather(1, chosen[..., None].expand(-1, -1, length))
        return type(self)(tokens, *(leaf.gather(1, chosen) for leaf in both[1:]))

    def filled(self, length: int, eos: int) -> Self:
        """With tokens up to this length."""
        return self._replace(tokens=F.pad(self.tokens, (0, length - self.tokens.shape[2]), value=eos))


def extended(tokens: Tensor, parents: Tensor, more: Tensor) -> Tensor:
    """Of hypotheses [b, K, t] the parents [b, C], each with one more token: [b, C, t + 1]."""
    return torch.cat([tokens.gather(1, parents[..., None].expand(-1, -1, tokens.shape[2])), more[..., None]], -1)

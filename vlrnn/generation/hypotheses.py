"""Hypotheses of a search: for each item K unfinished ones and a pool of the best K finished ones.

Shapes: b items, K hypotheses, t tokens. Sums are sums of log p, at most 0; minus infinity where there is no hypothesis.
Sums rank hypotheses and have no gradient; log probabilities of tokens have one if the search keeps the graph.
"""

import math
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor


def ranks(sums: Tensor, length: int, length_penalty: float) -> Tensor:
    """Keys with the order of sum / length ** length_penalty: minus the log of its magnitude, which stays in the range
    of float32 for every penalty."""
    return length_penalty * math.log(length) - sums.neg().clamp(min=0).log()


class Candidates(NamedTuple):
    """Continuations [b, C] of unfinished hypotheses: `parents`, the index of the hypothesis; `tokens`, the next token;
    `sums`, with that token; `log_probs`, of that token."""

    parents: Tensor
    tokens: Tensor
    sums: Tensor
    log_probs: Tensor


class Live(NamedTuple):
    """Unfinished hypotheses of each item, best first: `tokens` [b, K, t + 1], `<bos>` first; `log_probs` [b, K, t] of
    the tokens after `<bos>`; `sums` [b, K]; `parents` [b, K], the index of each at the step before."""

    tokens: Tensor
    log_probs: Tensor
    sums: Tensor
    parents: Tensor

    @classmethod
    def start(cls, items: int, width: int, bos: int, device: torch.device) -> Self:
        """K empty hypotheses."""
        parents, sums = torch.arange(width, device=device).repeat(items, 1), torch.zeros(items, width, device=device)
        return cls(torch.full((items, width, 1), bos, device=device), sums[..., None][..., :0], sums, parents)

    def grow(self, found: Candidates, ends: Tensor) -> Self:
        """The best K candidates that are not finished."""
        sums, chosen = found.sums.masked_fill(ends, -torch.inf).topk(self.sums.shape[1])
        parents = found.parents.gather(1, chosen)
        tokens = extended(self.tokens, parents, found.tokens.gather(1, chosen))
        return type(self)(tokens, extended(self.log_probs, parents, found.log_probs.gather(1, chosen)), sums, parents)


class Pool(NamedTuple):
    """Finished hypotheses of each item, best first: `tokens` [b, K, t] without `<bos>`, padded with `<eos>`;
    `log_probs` [b, K, t], padded with 0; `lengths` [b, K], `<eos>` included, 0 where there is no hypothesis; `sums`
    [b, K]; `ranks` [b, K]."""

    tokens: Tensor
    log_probs: Tensor
    lengths: Tensor
    sums: Tensor
    ranks: Tensor

    @classmethod
    def start(cls, items: int, width: int, device: torch.device) -> Self:
        """An empty pool."""
        nothing = torch.full((items, width), -torch.inf, device=device)
        lengths = torch.zeros(items, width, dtype=torch.long, device=device)
        return cls(lengths[..., None][..., :0], nothing[..., None][..., :0], lengths, nothing, nothing)

    def add(self, live: Live, found: Candidates, ends: Tensor, length_penalty: float, eos: int) -> Self:
        """The best K of the pool and of the finished hypotheses among the first K candidates."""
        width, length = self.sums.shape[1], live.tokens.shape[2]
        ends = ends[:, :width] & (found.sums[:, :width] > -torch.inf)
        if not ends.any():
            return self
        sums = found.sums[:, :width].masked_fill(~ends, -torch.inf)
        parents = found.parents[:, :width]
        new = type(self)(
            extended(live.tokens, parents, found.tokens[:, :width])[:, :, 1:],
            extended(live.log_probs, parents, found.log_probs[:, :width]),
            ends * length,
            sums,
            ranks(sums, length, length_penalty),
        )
        both = type(self)(*(torch.cat(pair, 1) for pair in zip(self.filled(length, eos), new, strict=True)))
        _, chosen = both.ranks.topk(width)
        places = chosen[..., None].expand(-1, -1, length)
        tokens, log_probs = both.tokens.gather(1, places), both.log_probs.gather(1, places)
        return type(self)(tokens, log_probs, *(leaf.gather(1, chosen) for leaf in both[2:]))

    def filled(self, length: int, eos: int) -> Self:
        """The pool padded to this number of tokens."""
        missing = (0, length - self.tokens.shape[2])
        return self._replace(tokens=F.pad(self.tokens, missing, value=eos), log_probs=F.pad(self.log_probs, missing))


def extended(values: Tensor, parents: Tensor, more: Tensor) -> Tensor:
    """Values [b, K, t] of the parents [b, C], with one more [b, C] appended: [b, C, t + 1]."""
    return torch.cat([values.gather(1, parents[..., None].expand(-1, -1, values.shape[2])), more[..., None]], -1)

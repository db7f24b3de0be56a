"""What may be said next: words forbidden always, endings forbidden too early, n-grams forbidden twice, sentences of a
closed set.

A constraint takes log probabilities [R, V] of R rows and what they said so far [R, t], and gives the log probabilities
with what it forbids at minus infinity. They are not renormalised: a hypothesis keeps the probability that the model
gave it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

LogitsProcessor = Callable[[Tensor, Tensor], Tensor]


def suppress_tokens(tokens: Sequence[int]) -> LogitsProcessor:
    """Forbid tokens at every place."""

    def apply(log_probs: Tensor, said: Tensor) -> Tensor:
        for token in tokens:  # filling the columns of a few costs a fraction of what a list of indices does
            log_probs[:, token] = -torch.inf
        return log_probs

    return apply


def min_new_tokens(token: int, length: int) -> LogitsProcessor:
    """Forbid a token until `length` others were said."""

    def apply(log_probs: Tensor, said: Tensor) -> Tensor:
        if said.shape[1] < length:
            log_probs[:, token] = -torch.inf
        return log_probs

    return apply


def no_repeat_ngram(size: int) -> LogitsProcessor:
    """Forbid the token that would make an n-gram of this size stand twice in a sentence (Paulus, Xiong, Socher
    2018)."""

    def apply(log_probs: Tensor, said: Tensor) -> Tensor:
        if said.shape[1] < size:
            return log_probs
        grams = said.unfold(1, size, 1)  # [R, t - n + 1, n]
        suffix = said[:, said.shape[1] - size + 1 :]  # [R, n - 1]
        again = (grams[..., :-1] == suffix[:, None]).all(-1)  # [R, t - n + 1]
        penalty = torch.where(again, -torch.inf, 0.0).to(log_probs.dtype)
        return log_probs.scatter_add(1, grams[..., -1], penalty)

    return apply


def allowed_sequences(sentences: Sequence[Sequence[int]]) -> LogitsProcessor:
    """Allow only what goes on towards one of these sentences, each with its `<eos>`.

    They are laid out as a prefix tree whose edges are sorted by node and token, so that it takes memory in proportion
    to the sentences and is walked for all rows at once.
    """
    edges: dict[tuple[int, int], int] = {}  # node, token -> next node; the root is 0
    for sentence in sentences:
        node = 0
        for token in sentence:
            node = edges.setdefault((node, token), len(edges) + 1)
    ordered = np.array(sorted((*edge, child) for edge, child in edges.items()), dtype=np.int64)  # [E, 3]
    origin, token, child = torch.from_numpy(ordered.T.copy())
    size = int(token.max()) + 1
    keys = origin * size + token  # rise, since the edges are sorted
    starts = torch.searchsorted(origin, torch.arange(len(edges) + 2))  # where a node's edges begin

    def apply(log_probs: Tensor, said: Tensor) -> Tensor:
        node = torch.zeros(len(said), dtype=torch.long)
        for each in said.cpu().unbind(1):
            key = node * size + each.clamp(max=size - 1)
            edge = torch.searchsorted(keys, key).clamp(max=len(keys) - 1)
            node = torch.where((node >= 0) & (keys[edge] == key) & (each < size), child[edge], -1)
        known = node.clamp(min=0)
        counts = torch.where(node >= 0, starts[known + 1] - starts[known], 0)
        rows = torch.arange(len(said)).repeat_interleave(counts)
        first = (starts[known] - counts.cumsum(0) + counts).repeat_interleave(counts)
        allowed = torch.full(log_probs.shape, -torch.inf)
        allowed[rows, token[first + torch.arange(len(rows))]] = 0.0
        return log_probs + allowed.to(log_probs)

    return apply

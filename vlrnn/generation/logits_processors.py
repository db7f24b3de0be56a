"""Logits processors: suppressed tokens, a minimum length, no repeated n-grams, a closed set of sequences.

A processor maps log probabilities [R, V] and the tokens generated so far [R, t] to log probabilities, minus infinity
for excluded tokens. They are not renormalised: a hypothesis is scored by the model's own probabilities.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

LogitsProcessor = Callable[[Tensor, Tensor], Tensor]


def suppress_tokens(tokens: Sequence[int]) -> LogitsProcessor:
    """Exclude tokens at every step."""

    def apply(log_probs: Tensor, tokens_so_far: Tensor) -> Tensor:
        for token in tokens:  # for a few columns several times as fast as a list of indices
            log_probs[:, token] = -torch.inf
        return log_probs

    return apply


def min_new_tokens(token: int, length: int) -> LogitsProcessor:
    """Exclude a token until `length` others have been generated."""

    def apply(log_probs: Tensor, tokens_so_far: Tensor) -> Tensor:
        if tokens_so_far.shape[1] < length:
            log_probs[:, token] = -torch.inf
        return log_probs

    return apply


def no_repeat_ngram(size: int) -> LogitsProcessor:
    """Exclude tokens that would repeat an n-gram of this size in a sentence (Paulus, Xiong, Socher 2018)."""

    def apply(log_probs: Tensor, tokens_so_far: Tensor) -> Tensor:
        time = tokens_so_far.shape[1]
        if time < size:
            return log_probs
        grams = tokens_so_far.unfold(1, size, 1)  # [R, t - n + 1, n]
        suffix = tokens_so_far[:, time - size + 1 :]  # [R, n - 1]
        again = (grams[..., :-1] == suffix[:, None]).all(-1)  # [R, t - n + 1]
        penalty = torch.where(again, -torch.inf, 0.0).to(log_probs.dtype)
        return log_probs.scatter_add(1, grams[..., -1], penalty)

    return apply


def allowed_sequences(sentences: Sequence[Sequence[int]]) -> LogitsProcessor:
    """Allow only prefixes of these sentences, each with its `<eos>`.

    The sentences are stored as a prefix tree whose edges are sorted by node and token: memory is proportional to the
    number of tokens, and the tree is traversed for all rows at once.
    """
    edges: dict[tuple[int, int], int] = {}  # node, token -> next node; the root is 0
    for sentence in sentences:
        node = 0
        for token in sentence:
            node = edges.setdefault((node, token), len(edges) + 1)
    ordered = np.array(sorted((*edge, child) for edge, child in edges.items()), dtype=np.int64)  # [E, 3]
    origin, token, child = torch.from_numpy(ordered.T.copy())
    size = int(token.max()) + 1
    keys = origin * size + token  # ascending, since the edges are sorted
    starts = torch.searchsorted(origin, torch.arange(len(edges) + 2))  # first edge of each node

    def apply(log_probs: Tensor, tokens_so_far: Tensor) -> Tensor:
        node = torch.zeros(len(tokens_so_far), dtype=torch.long)
        for each in tokens_so_far.cpu().unbind(1):
            key = node * size + each.clamp(max=size - 1)
            edge = torch.searchsorted(keys, key).clamp(max=len(keys) - 1)
            node = torch.where((node >= 0) & (keys[edge] == key) & (each < size), child[edge], -1)
        valid = node.clamp(min=0)
        counts = torch.where(node >= 0, starts[valid + 1] - starts[valid], 0)
        rows = torch.arange(len(node)).repeat_interleave(counts)
        first = (starts[valid] - counts.cumsum(0) + counts).repeat_interleave(counts)
        allowed = torch.full(log_probs.shape, -torch.inf)
        allowed[rows, token[first + torch.arange(len(rows))]] = 0.0
        return log_probs + allowed.to(log_probs)

    return apply

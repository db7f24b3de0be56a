"""What may be said next: words forbidden always, endings forbidden too early, n-grams forbidden twice.

A constraint takes log probabilities [R, V] of R rows and what they said so far [R, t], and gives the log probabilities
with what it forbids at minus infinity. They are not renormalised: a hypothesis keeps the probability that the model
gave it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Constraint = Callable[[Tensor, Tensor], Tensor]


def never(tokens: Sequence[int]) -> Constraint:
    """Forbid tokens at every place."""
    forbidden = list(tokens)

    def apply(log_probs: Tensor, said: Tensor) -> Tensor:
        log_probs[:, forbidden] = -torch.inf
        return log_probs

    return apply


def not_before(token: int, length: int) -> Constraint:
    """Forbid a token until `length` others were said."""

    def apply(log_probs: Tensor, said: Tensor) -> Tensor:
        if said.shape[1] < length:
            log_probs[:, token] = -torch.inf
        return log_probs

    return apply


def no_repeat_ngram(size: int) -> Constraint:
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

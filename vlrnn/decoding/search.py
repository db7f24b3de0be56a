"""Search: from a step function to the sentences that it scores best. Knows no image, no word, no cell.

A step takes (tokens [B, K], state, memory) and gives (scores [B, K, V], next state): B items, K hypotheses for each, V
tokens. State leaves are [B * K, ...] and follow the hypotheses; memory leaves are [B, ...], and lose the rows of items
that are finished. A hypothesis scores sum of log p / length ** length_penalty, its `<eos>` counted in both.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vlrnn.decoding.constraints import Constraint, never, no_repeat_ngram, not_before
from vlrnn.errors import UserError
from vlrnn.nn.tree import Tree, leaves, map_tree, select
from vlrnn.parts import Part

Step = Callable[[Tensor, Tree, Tree], tuple[Tensor, Tree]]


@dataclass(frozen=True)
class Decoding(Part):
    """How to search; the names are Hugging Face's.

    Attributes:
        num_beams: K, how many hypotheses live at a time; 1 is greedy search.
        max_new_tokens: the most tokens of a sentence, `<eos>` counted.
        min_new_tokens: how many tokens must stand before `<eos>`.
        length_penalty: the exponent of the length that sums of log p are divided by; 0 compares the sums.
        no_repeat_ngram_size: no n-gram of this size stands twice in a sentence; 0 allows it.
        temperature: when given, sentences are drawn at random from p ** (1 / temperature) instead of searched for.
        top_k: when drawing, keep the k likeliest tokens; 0 keeps all.
        top_p: when drawing, keep the likeliest tokens that together reach this probability.
        num_return_sequences: R, how many sentences to give for an item; at most num_beams when searching.
    """

    num_beams: int = 1
    max_new_tokens: int = 30
    min_new_tokens: int = 0
    length_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    temperature: float | None = None
    top_k: int = 0
    top_p: float = 1.0
    num_return_sequences: int = 1

    def __post_init__(self) -> None:
        for name in ("num_beams", "max_new_tokens", "num_return_sequences"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("min_new_tokens", "no_repeat_ngram_size", "top_k"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must not be negative")
        if self.min_new_tokens >= self.max_new_tokens:
            least, most = self.min_new_tokens, self.max_new_tokens
            raise UserError(f"min_new_tokens ({least}) must be less than max_new_tokens ({most})")
        if not math.isfinite(self.length_penalty):
            raise UserError(f"length_penalty must be a finite number, not {self.length_penalty}")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if self.temperature is None:
            if self.top_k or self.top_p < 1:
                raise UserError("top_k and top_p shape random drawing: give a temperature with them (1.0, say)")
            if self.num_return_sequences > self.num_beams:
                raise UserError(
                    f"num_return_sequences ({self.num_return_sequences}) must not exceed num_beams ({self.num_beams})"
                )
        elif not 0 < self.temperature < math.inf:
            raise UserError(f"temperature must be a number above 0, not {self.temperature}")
        elif self.num_beams > 1:
            raise UserError("a temperature draws at random, num_beams searches: give one of the two")

    def describe(self) -> dict[str, Any]:
        """The settings as plain data, for results."""
        return asdict(self)


class Hypotheses(NamedTuple):
    """What was found, best first: `tokens` [B, R, T] without `<bos>`, `<eos>` and what lies behind it as `<eos>`;
    `lengths` [B, R], `<eos>` counted; `scores` [B, R], minus infinity where there was no further hypothesis."""

    tokens: Tensor
    lengths: Tensor
    scores: Tensor


class _Beams(NamedTuple):
    """The hypotheses of the items that are not finished; every leaf is [b, K, ...]."""

    tokens: Tensor  # [b, K, t]
    sums: Tensor  # [b, K] sums of log p
    lengths: Tensor  # [b, K] `<eos>` counted
    ended: Tensor  # [b, K]

    def scores(self, length_penalty: float) -> Tensor:
        return self.sums / self.lengths.clamp(min=1).float() ** length_penalty


_Choice = Callable[[Tensor, _Beams], tuple[Tensor, Tensor, Tensor]]
"""Log probabilities [b, K, V] -> for the next K hypotheses: parent, token, sum of log p, each [b, K]."""


@torch.no_grad()
def search(
    step: Step,
    state: Tree,
    memory: Tree,
    settings: Decoding,
    *,
    bos: int,
    eos: int,
    forbidden: Sequence[int] = (),
    constraints: Sequence[Constraint] = (),
    generator: torch.Generator | None = None,
) -> Hypotheses:
    """Find, or draw, sentences for B items.

    Args:
        step: scores the next token.
        state: leaves [B, ...], before the first token.
        memory: leaves [B, ...].
        settings: how.
        bos, eos: the tokens that open and close a sentence.
        forbidden: tokens that are never said.
        constraints: what else is not to be said.
        generator: for drawing.
    """
    if settings.temperature is None:
        width, choose = settings.num_beams, _best(settings.length_penalty)
    else:
        width, choose = settings.num_return_sequences, _drawn(settings, settings.temperature, generator)
    constraints = [*_constraints(settings, eos, forbidden), *constraints]
    state = map_tree(lambda leaf: leaf.repeat_interleave(width, 0), state)
    batch_size, device = len(leaves(memory)[0]), leaves(memory)[0].device
    beams = _first_beams(batch_size, width, bos, device, alike=settings.temperature is None)
    alive = torch.arange(batch_size, device=device)  # [b] the items that are not finished
    finished: list[tuple[Tensor, _Beams]] = []
    for time in range(settings.max_new_tokens):
        scores, state = step(beams.tokens[:, :, -1], state, memory)
        log_probs = _allowed(scores, beams, constraints, eos)
        parent, token, sums = choose(log_probs, beams)
        beams = _extend(beams, parent, token, sums, eos)
        state = select(state, (parent + torch.arange(len(alive), device=device)[:, None] * width).flatten())
        done = beams.ended.all(1)
        if time == settings.max_new_tokens - 1:
            done = torch.ones_like(done)
        if done.any():
            finished.append((alive[done], _Beams(*(leaf[done] for leaf in beams))))
            rows = (~done).nonzero().squeeze(1)
            alive, memory, beams = alive[rows], select(memory, rows), _Beams(*(leaf[rows] for leaf in beams))
            state = select(state, (rows[:, None] * width + torch.arange(width, device=device)).flatten())
        if not len(alive):
            break
    return _gather(finished, settings, eos)


def _constraints(settings: Decoding, eos: int, forbidden: Sequence[int]) -> list[Constraint]:
    constraints = [never(forbidden)] if forbidden else []
    if settings.min_new_tokens:
        constraints.append(not_before(eos, settings.min_new_tokens))
    if settings.no_repeat_ngram_size:
        constraints.append(no_repeat_ngram(settings.no_repeat_ngram_size))
    return constraints


def _first_beams(batch_size: int, width: int, bos: int, device: torch.device, alike: bool) -> _Beams:
    """K hypotheses that have said nothing. Searching from K that are alike would find everything K times: only the
    first lives."""
    sums = torch.zeros(batch_size, width, device=device)
    if alike:
        sums[:, 1:] = -torch.inf
    zeros = torch.zeros(batch_size, width, dtype=torch.long, device=device)
    return _Beams(zeros[..., None] + bos, sums, zeros, zeros.bool())


def _allowed(scores: Tensor, beams: _Beams, constraints: Sequence[Constraint], eos: int) -> Tensor:
    """Log probabilities [b, K, V] of what may be said; an ended hypothesis ends again, at no cost."""
    log_probs = scores.float().log_softmax(-1).flatten(0, 1)
    said = beams.tokens[:, :, 1:].flatten(0, 1)
    ending = log_probs[:, eos].clone()
    for constraint in constraints:
        log_probs = constraint(log_probs, said)
    stuck = log_probs.isneginf().all(-1)  # nothing left to say: end
    log_probs[:, eos] = torch.where(stuck, ending, log_probs[:, eos])
    log_probs = log_probs.unflatten(0, beams.ended.shape)
    log_probs = log_probs.masked_fill(beams.ended[..., None], -torch.inf)
    log_probs[..., eos] = log_probs[..., eos].masked_fill(beams.ended, 0.0)
    return log_probs


def _best(length_penalty: float) -> _Choice:
    """Keep the K continuations of an item that score best, from whichever parents."""

    def choose(log_probs: Tensor, beams: _Beams) -> tuple[Tensor, Tensor, Tensor]:
        _, width, size = log_probs.shape
        sums = beams.sums[..., None] + log_probs  # [b, K, V]
        lengths = beams.lengths + ~beams.ended  # an ended hypothesis grows no more
        scores = sums / lengths[..., None].float() ** length_penalty
        flat = scores.flatten(1).topk(width).indices  # [b, K]
        parent, token = flat // size, flat % size
        return parent, token, sums.flatten(1).gather(1, flat)

    return choose


def _drawn(settings: Decoding, temperature: float, generator: torch.Generator | None) -> _Choice:
    """Draw one continuation of each hypothesis (top-k: Fan et al. 2018; top-p: Holtzman et al. 2020)."""

    def choose(log_probs: Tensor, beams: _Beams) -> tuple[Tensor, Tensor, Tensor]:
        batch_size, width, _ = log_probs.shape
        probs = ((log_probs - log_probs.amax(-1, keepdim=True)) / temperature).softmax(-1)
        ranked, order = probs.sort(-1, descending=True)
        beyond = ranked.cumsum(-1) - ranked >= settings.top_p  # what stands before already reaches top_p
        if settings.top_k:
            beyond[..., settings.top_k :] = True
        drawn = torch.multinomial(ranked.masked_fill(beyond, 0.0).flatten(0, 1), 1, generator=generator)
        token = order.flatten(0, 1).gather(1, drawn).view(batch_size, width)
        parent = torch.arange(width, device=token.device).expand(batch_size, -1)
        return parent, token, beams.sums + log_probs.gather(2, token[..., None]).squeeze(2)

    return choose


def _extend(beams: _Beams, parent: Tensor, token: Tensor, sums: Tensor, eos: int) -> _Beams:
    tokens = beams.tokens.gather(1, parent[..., None].expand(-1, -1, beams.tokens.shape[2]))
    ended = beams.ended.gather(1, parent)
    lengths = beams.lengths.gather(1, parent) + ~ended
    ended = ended | (token == eos) | sums.isneginf()  # nobody waits for a hypothesis that does not exist
    return _Beams(torch.cat([tokens, token[..., None]], -1), sums, lengths, ended)


def _gather(finished: list[tuple[Tensor, _Beams]], settings: Decoding, eos: int) -> Hypotheses:
    """Put the items back in order, and their best hypotheses first."""
    longest = max(beams.tokens.shape[2] for _, beams in finished)
    parts = []
    for _, beams in finished:
        scores, order = beams.scores(settings.length_penalty).sort(descending=True, stable=True)
        order = order[:, : settings.num_return_sequences]
        padding = beams.tokens.new_full((*beams.ended.shape, longest - beams.tokens.shape[2]), eos)
        tokens = torch.cat([beams.tokens, padding], -1)[:, :, 1:]
        tokens = tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[2]))
        parts.append((tokens, beams.lengths.gather(1, order), scores[:, : settings.num_return_sequences]))
    back = torch.cat([items for items, _ in finished]).argsort()
    return Hypotheses(*(torch.cat(leaf)[back] for leaf in zip(*parts, strict=True)))

"""Search: from a step function to the sentences that it scores best. Knows no image, no word, no cell.

A step takes (tokens [B, K], state, memory) and gives (scores [B, K, V], next state): B items, K hypotheses for each, V
tokens. State leaves are [B * K, ...] and follow the hypotheses; memory leaves are [B, ...], and lose the rows of items
that are finished. A hypothesis scores sum of log p / length ** length_penalty, its `<eos>` counted in both.

A step takes the best 2K continuations of an item's K live hypotheses. Of the first K those that end go to the pool,
which keeps the best K; the best K that do not end live on. Texts and scores are those of Hugging Face's `generate`
(transformers 5, `GenerationMixin._beam_search`), whose length is that behind the prompt, `<eos>` counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_type_hints

import torch
from torch import Tensor

from vlrnn.config import Configurable, fits
from vlrnn.errors import UserError
from vlrnn.generation.hypotheses import Candidates, Live, Pool, ranks
from vlrnn.generation.logits_processors import LogitsProcessor, min_new_tokens, no_repeat_ngram, suppress_tokens
from vlrnn.nn.batching import Tree, index_rows, leaves, map_tree

Step = Callable[[Tensor, Tree, Tree], tuple[Tensor, Tree]]

_RANGES = {
    "num_beams": (1, 1_000),
    "max_new_tokens": (1, 100_000),
    "min_new_tokens": (0, 100_000),
    "length_penalty": (-50, 50),
    "no_repeat_ngram_size": (0, 100_000),
    "temperature": (1e-6, 1e6),
    "top_k": (0, 10_000_000),
    "top_p": (0, 1),
    "num_return_sequences": (1, 1_000),
}
"""What a setting is at least and at most: a search of more would ask for more memory or time than there is."""

_MAX_TOKENS = 1_000_000
"""Of all hypotheses about an item together."""


@dataclass(frozen=True)
class GenerationConfig(Configurable):
    """How to search; the names are Hugging Face's.

    Attributes:
        num_beams: K, how many hypotheses live at a time, up to 1,000; 1 is greedy search.
        max_new_tokens: the most tokens of a sentence, `<eos>` counted; up to 100,000, and of all hypotheses about an
            item together up to 1,000,000.
        min_new_tokens: how many tokens must stand before `<eos>`.
        length_penalty: the exponent of the length that sums of log p are divided by, from -50 to 50; 0 compares the
            sums.
        early_stopping: when a beam search stops. True: K hypotheses have finished. False: they have, and the best live
            sum, over its present length, is no better than the worst of them. "never": nor is it over any length up to
            max_new_tokens. One beam stops where it ends.
        no_repeat_ngram_size: no n-gram of this size stands twice in a sentence; 0 allows it.
        temperature: when given, from 1e-6 to 1e6, sentences are drawn at random from p ** (1 / temperature) instead of
            searched for.
        top_k: when drawing, keep the k likeliest tokens; 0 keeps all.
        top_p: when drawing, keep the likeliest tokens that together reach this probability, of what top_k left.
        num_return_sequences: R, how many sentences to give for an item, up to 1,000; at most num_beams when searching.

    Raises:
        UserError: a value is of another type or out of its range, or two contradict each other.
    """

    num_beams: int = 1
    max_new_tokens: int = 30
    min_new_tokens: int = 0
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    no_repeat_ngram_size: int = 0
    temperature: float | None = None
    top_k: int = 0
    top_p: float = 1.0
    num_return_sequences: int = 1

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            if name in self.__dataclass_fields__:
                self._check(name, getattr(self, name), hint)
        if self.min_new_tokens >= self.max_new_tokens:
            least, most = self.min_new_tokens, self.max_new_tokens
            raise UserError(f"min_new_tokens ({least}) must be less than max_new_tokens ({most})")
        if self.temperature is None:
            if self.top_k or self.top_p < 1:
                raise UserError("top_k and top_p shape random drawing: give a temperature with them (1.0, say)")
            if self.num_return_sequences > self.num_beams:
                raise UserError(
                    f"num_return_sequences ({self.num_return_sequences}) must not exceed num_beams ({self.num_beams})"
                )
        elif self.num_beams > 1:
            raise UserError("a temperature draws at random, num_beams searches: give one of the two")
        name = "num_beams" if self.temperature is None else "num_return_sequences"
        if (width := getattr(self, name)) * self.max_new_tokens > _MAX_TOKENS:
            raise UserError(
                f"{name} ({width:,}) times max_new_tokens ({self.max_new_tokens:,}) must not exceed {_MAX_TOKENS:,}"
            )

    def _check(self, name: str, value: Any, hint: Any) -> None:
        if name == "early_stopping":
            wanted, right = 'true, false or "never"', fits(value, hint)
        else:
            least, most = _RANGES[name]
            kind = "a whole number" if hint is int else "a number"
            wanted = f"{kind} from {least:,} to {most:,}"
            right = fits(value, hint) and (value is None or least <= value <= most)
            if name == "top_p":
                wanted, right = "a number above 0 and at most 1", right and value > 0
        if not right:
            raise UserError(f"{name} must be {wanted}, not {value!r:.60}")

    def describe(self) -> dict[str, Any]:
        """The settings as plain data, for results."""
        return asdict(self)


class Hypotheses(NamedTuple):
    """What was found, best first: `tokens` [B, R, T] without `<bos>`, `<eos>` and what lies behind it as `<eos>`;
    `lengths` [B, R], `<eos>` counted, 0 where there was no further hypothesis; `scores` [B, R], in double and on the
    CPU, for a large length penalty leaves float32's range; `token_log_probs` [B, R, T], the natural log probability
    that the step gave each token, 0 behind the length."""

    tokens: Tensor
    lengths: Tensor
    scores: Tensor
    token_log_probs: Tensor


_Choice = Callable[[Tensor, Tensor], Candidates]
"""Log probabilities [b, K, V] of what may follow, and the sums [b, K] before -> continuations."""


def search(
    step: Step,
    state: Tree,
    memory: Tree,
    settings: GenerationConfig,
    *,
    bos: int,
    eos: int,
    forbidden: Sequence[int] = (),
    constraints: Sequence[LogitsProcessor] = (),
    generator: torch.Generator | None = None,
    keep_graph: bool = False,
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
        keep_graph: let `token_log_probs` be differentiated, as losses of drawn sentences need it.
    """
    width = max(settings.num_beams, settings.num_return_sequences)
    constraints = [*_constraints(settings, eos, forbidden), *constraints]
    state = map_tree(lambda leaf: leaf.repeat_interleave(width, 0), state)
    batch_size, device = len(leaves(memory)[0]), leaves(memory)[0].device
    live, pool = Live.start(batch_size, width, bos, device), Pool.start(batch_size, width, device)
    choose: _Choice
    if settings.temperature is None:
        choose = _best
        live.sums[:, 1:] = -torch.inf  # all K are alike: only the first lives, or everything were found K times
    else:
        choose = _drawn(settings, settings.temperature, generator)
    items = torch.arange(batch_size, device=device)  # [b] those that are not finished
    finished: list[tuple[Tensor, Pool]] = []
    with torch.set_grad_enabled(keep_graph):
        for length in range(1, settings.max_new_tokens + 1):
            scores, state = step(live.tokens[:, :, -1], state, memory)
            found = choose(_allowed(scores, live, constraints, eos), live.sums)
            ends = (found.tokens == eos) | (length == settings.max_new_tokens)
            pool, live = pool.add(live, found, ends, settings.length_penalty, eos), live.grow(found, ends)
            done = _done(live, pool, length, settings)
            rows = (~done).nonzero().squeeze(1)
            if len(rows) < len(items):
                finished.append((items[done], Pool(*(leaf[done] for leaf in pool))))
                items, memory = items[rows], index_rows(memory, rows)
                live, pool = Live(*(leaf[rows] for leaf in live)), Pool(*(leaf[rows] for leaf in pool))
                if not len(items):
                    break
            state = index_rows(state, (rows[:, None] * width + live.parents).flatten())
        return _gather(finished, settings, eos)


def _constraints(settings: GenerationConfig, eos: int, forbidden: Sequence[int]) -> list[LogitsProcessor]:
    constraints = [suppress_tokens(forbidden)] if forbidden else []
    if settings.min_new_tokens:
        constraints.append(min_new_tokens(eos, settings.min_new_tokens))
    if settings.no_repeat_ngram_size:
        constraints.append(no_repeat_ngram(settings.no_repeat_ngram_size))
    return constraints


def _allowed(scores: Tensor, live: Live, constraints: Sequence[LogitsProcessor], eos: int) -> Tensor:
    """Log probabilities [b, K, V] of what may be said."""
    log_probs = scores.float().log_softmax(-1).flatten(0, 1)
    if torch.is_grad_enabled():  # its gradient needs it as it is
        log_probs = log_probs.clone()
    said = live.tokens[:, :, 1:].flatten(0, 1)
    ending = log_probs[:, eos].clone()
    for constraint in constraints:
        log_probs = constraint(log_probs, said)
    stuck = log_probs.amax(-1).isneginf()  # nothing left to say: end
    log_probs[:, eos] = torch.where(stuck, ending, log_probs[:, eos])
    return log_probs.view_as(scores)


def _best(log_probs: Tensor, sums: Tensor) -> Candidates:
    """The 2K continuations that an item's sums are highest with, from whichever parents: among them are K that do not
    end, for each parent ends in one way."""
    _, width, size = log_probs.shape
    best, flat = (log_probs.detach() + sums[..., None]).flatten(1).topk(min(2, size) * width)
    return Candidates(flat // size, flat % size, best, log_probs.flatten(1).gather(1, flat))


def _drawn(settings: GenerationConfig, temperature: float, generator: torch.Generator | None) -> _Choice:
    """Draw one continuation of each hypothesis (top-k: Fan et al. 2018; top-p: Holtzman et al. 2020)."""

    def choose(log_probs: Tensor, sums: Tensor) -> Candidates:
        fixed = log_probs.detach()
        probs = ((fixed - fixed.amax(-1, keepdim=True)) / temperature).softmax(-1)
        ranked, order = probs.sort(-1, descending=True)
        if settings.top_k:
            ranked[..., settings.top_k :] = 0.0
            ranked = ranked / ranked.sum(-1, keepdim=True)
        beyond = ranked.cumsum(-1) - ranked >= settings.top_p  # what stands before already reaches top_p
        beyond[..., 0] = False
        # As torch.multinomial draws, which fails where there are NaNs: a hypothesis with one is no hypothesis.
        waits = torch.empty_like(ranked).exponential_(generator=generator)
        drawn = (ranked.masked_fill(beyond, 0.0) / waits).argmax(-1, keepdim=True)
        token = order.gather(-1, drawn)
        parents = torch.arange(sums.shape[1], device=sums.device).expand_as(sums)
        chosen = log_probs.gather(-1, token).squeeze(-1)
        return Candidates(parents, token.squeeze(-1), sums + chosen.detach(), chosen)

    return choose


def _done(live: Live, pool: Pool, length: int, settings: GenerationConfig) -> Tensor:
    """Which items [b] are finished: their pool is full and need not be bettered, or nothing lives."""
    best, worst, penalty = live.sums[:, 0], pool.ranks[:, -1], settings.length_penalty
    enough = worst > -torch.inf
    if settings.num_beams > 1 and settings.early_stopping is not True:
        far = settings.early_stopping == "never" and penalty > 0
        enough &= ranks(best, settings.max_new_tokens if far else length, penalty) <= worst
    return enough | ~(best > -torch.inf)


def _gather(finished: Sequence[tuple[Tensor, Pool]], settings: GenerationConfig, eos: int) -> Hypotheses:
    """Put the items back in order, and their first R hypotheses."""
    longest = max(pool.tokens.shape[2] for _, pool in finished)
    parts = (pool.filled(longest, eos) for _, pool in finished)
    whole = Pool(*(torch.cat(leaf)[:, : settings.num_return_sequences] for leaf in zip(*parts, strict=True)))
    back = torch.cat([items for items, _ in finished]).argsort()
    sums, lengths = whole.sums[back].cpu().double(), whole.lengths[back].cpu().clamp(min=1).double()
    scores = sums / lengths**settings.length_penalty
    return Hypotheses(whole.tokens[back], whole.lengths[back], scores, whole.log_probs[back])

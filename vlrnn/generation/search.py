"""Greedy search, beam search and sampling with any step function. Independent of decoders and vocabularies.

A step function maps (tokens [B, K], state, memory) to (logits [B, K, V], next state): B items, K hypotheses for each, V
tokens. State leaves are [B * K, ...] and are reordered with the hypotheses; memory leaves are [B, ...], and the rows of
finished items are dropped. The score of a hypothesis is sum of log p / length ** length_penalty, `<eos>` included in
both.

Each step takes the best 2K continuations of an item's K unfinished hypotheses. Those of the first K that end are added
to the pool, which holds the best K; the best K that do not end are continued. Texts and scores are those of Hugging
Face's `generate` (transformers 5, `GenerationMixin._beam_search`), where the length excludes the prompt and includes
`<eos>`.
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
from vlrnn.terminal import html_table

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
"""Least and greatest value of a setting; the upper bounds limit memory and time."""

_MAX_TOKENS = 1_000_000
"""Of all hypotheses of an item together."""


@dataclass(frozen=True)
class GenerationConfig(Configurable):
    """Settings of the search, with Hugging Face's names.

    Attributes:
        num_beams: K, number of beams, up to 1,000; 1 is greedy search.
        max_new_tokens: most tokens of a sentence, `<eos>` included; up to 100,000, and 1,000,000 for all hypotheses of
            an item together.
        min_new_tokens: least number of tokens before `<eos>`.
        length_penalty: exponent of the length by which sums of log p are divided, from -50 to 50; 0: sums are compared.
        early_stopping: when beam search stops. True: K hypotheses are finished. False: and the best unfinished
            hypothesis, scored at its present length, is no better than the worst finished one. "never": nor at any
            length up to max_new_tokens. A single beam stops at `<eos>`.
        no_repeat_ngram_size: n-grams of this size occur at most once in a sentence; 0: no such constraint.
        temperature: from 1e-6 to 1e6: sample from p ** (1 / temperature). null: search.
        top_k: sample from the k most probable tokens; 0: from all.
        top_p: sample from the most probable tokens, after top_k, whose probabilities sum to at least this.
        num_return_sequences: R, number of sentences for each item, up to 1,000; in a search at most num_beams.

    Raises:
        UserError: a value is of a wrong type or out of range, or two contradict each other.
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
                raise UserError("top_k and top_p apply to sampling: give a temperature with them (for example 1.0)")
            if self.num_return_sequences > self.num_beams:
                raise UserError(
                    f"num_return_sequences ({self.num_return_sequences}) must not exceed num_beams ({self.num_beams})"
                )
        elif self.num_beams > 1:
            raise UserError("temperature is for sampling, num_beams for search: give one of the two")
        name = "num_beams" if self.temperature is None else "num_return_sequences"
        if (width := getattr(self, name)) * self.max_new_tokens > _MAX_TOKENS:
            raise UserError(
                f"{name} ({width:,}) times max_new_tokens ({self.max_new_tokens:,}) must not exceed {_MAX_TOKENS:,}"
            )

    def _repr_html_(self) -> str:
        return html_table(asdict(self).items())

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
        """The settings as plain data, for result files."""
        return asdict(self)


class Hypotheses(NamedTuple):
    """Result of a search, best first: `tokens` [B, R, T] without `<bos>`, padded with `<eos>`; `lengths` [B, R],
    `<eos>` included, 0 where there is no further hypothesis; `scores` [B, R], float64 on the CPU, since a large length
    penalty exceeds the range of float32; `token_log_probs` [B, R, T], the natural log probability of each token, 0
    after the end."""

    tokens: Tensor
    lengths: Tensor
    scores: Tensor
    token_log_probs: Tensor


_Choice = Callable[[Tensor, Tensor], Candidates]
"""Log probabilities [b, K, V] of the next token, and sums [b, K] before it -> continuations."""


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
    """Search, or sample, sentences for B items.

    Args:
        step: the step function.
        state: leaves [B, ...], before the first token.
        memory: leaves [B, ...].
        settings: of the search.
        bos, eos: ids of the first and the last token of a sentence.
        forbidden: tokens that are never generated.
        constraints: further logits processors.
        generator: random number generator of the sampling.
        keep_graph: keep the graph of `token_log_probs`, for losses of sampled sentences.
    """
    width = max(settings.num_beams, settings.num_return_sequences)
    constraints = [*_constraints(settings, eos, forbidden), *constraints]
    state = map_tree(lambda leaf: leaf.repeat_interleave(width, 0), state)
    batch_size, device = len(leaves(memory)[0]), leaves(memory)[0].device
    live, pool = Live.start(batch_size, width, bos, device), Pool.start(batch_size, width, device)
    choose: _Choice
    if settings.temperature is None:
        choose = _best
        live.sums[:, 1:] = -torch.inf  # all K are equal at first: with more than one, results would be K-fold
    else:
        choose = _drawn(settings, settings.temperature, generator)
    items = torch.arange(batch_size, device=device)  # [b], the unfinished ones
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
    """Log probabilities [b, K, V] of the next token under the constraints; `<eos>` where they exclude all tokens."""
    log_probs = scores.float().log_softmax(-1).flatten(0, 1)
    if torch.is_grad_enabled():  # processors write in place, and the backward pass needs the original
        log_probs = log_probs.clone()
    tokens = live.tokens[:, :, 1:].flatten(0, 1)
    ending = log_probs[:, eos].clone()
    for constraint in constraints:
        log_probs = constraint(log_probs, tokens)
    excluded = log_probs.amax(-1).isneginf()
    log_probs[:, eos] = torch.where(excluded, ending, log_probs[:, eos])
    return log_probs.view_as(scores)


def _best(log_probs: Tensor, sums: Tensor) -> Candidates:
    """The 2K continuations with the highest sums of an item, over all parents; at least K of them do not end, since
    each parent has one `<eos>`."""
    _, width, size = log_probs.shape
    best, flat = (log_probs.detach() + sums[..., None]).flatten(1).topk(min(2, size) * width)
    return Candidates(flat // size, flat % size, best, log_probs.flatten(1).gather(1, flat))


def _drawn(settings: GenerationConfig, temperature: float, generator: torch.Generator | None) -> _Choice:
    """Sample one continuation of each hypothesis (top-k: Fan et al. 2018; top-p: Holtzman et al. 2020)."""

    def choose(log_probs: Tensor, sums: Tensor) -> Candidates:
        fixed = log_probs.detach()
        probs = ((fixed - fixed.amax(-1, keepdim=True)) / temperature).softmax(-1)
        ranked, order = probs.sort(-1, descending=True)
        if settings.top_k:
            ranked[..., settings.top_k :] = 0.0
            ranked = ranked / ranked.sum(-1, keepdim=True)
        beyond = ranked.cumsum(-1) - ranked >= settings.top_p  # the tokens before it already reach top_p
        beyond[..., 0] = False
        # The method of torch.multinomial, which raises on NaNs; here a hypothesis with a NaN is dropped.
        waits = torch.empty_like(ranked).exponential_(generator=generator)
        drawn = (ranked.masked_fill(beyond, 0.0) / waits).argmax(-1, keepdim=True)
        token = order.gather(-1, drawn)
        parents = torch.arange(sums.shape[1], device=sums.device).expand_as(sums)
        chosen = log_probs.gather(-1, token).squeeze(-1)
        return Candidates(parents, token.squeeze(-1), sums + chosen.detach(), chosen)

    return choose


def _done(live: Live, pool: Pool, length: int, settings: GenerationConfig) -> Tensor:
    """The items [b] that are finished: the pool is full and cannot improve under `early_stopping`, or no hypothesis is
    left to continue."""
    best, worst, penalty = live.sums[:, 0], pool.ranks[:, -1], settings.length_penalty
    enough = worst > -torch.inf
    if settings.num_beams > 1 and settings.early_stopping is not True:
        far = settings.early_stopping == "never" and penalty > 0
        enough &= ranks(best, settings.max_new_tokens if far else length, penalty) <= worst
    return enough | ~(best > -torch.inf)


def _gather(finished: Sequence[tuple[Tensor, Pool]], settings: GenerationConfig, eos: int) -> Hypotheses:
    """The first R hypotheses of all items, in the order of the batch."""
    longest = max(pool.tokens.shape[2] for _, pool in finished)
    parts = (pool.filled(longest, eos) for _, pool in finished)
    whole = Pool(*(torch.cat(leaf)[:, : settings.num_return_sequences] for leaf in zip(*parts, strict=True)))
    back = torch.cat([items for items, _ in finished]).argsort()
    sums, lengths = whole.sums[back].cpu().double(), whole.lengths[back].cpu().clamp(min=1).double()
    scores = sums / lengths**settings.length_penalty
    return Hypotheses(whole.tokens[back], whole.lengths[back], scores, whole.log_probs[back])

"""Languages that are tables of random scores, to test searches on: no network is needed."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from vlrnn.generation.search import GenerationConfig, Hypotheses, search
from vlrnn.nn.batching import Tree

BOS, EOS, V = 1, 2, 5
TABLE = 997


class Table:
    """A language that no beam can guess: scores depend on the item and on all that was said (a hash of it, the
    state)."""

    def __init__(self, items: int, seed: int = 0, spread: float = 1.5, ending: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.scores = torch.randn(items, TABLE, V, generator=generator) * spread
        self.scores[..., EOS] += ending
        self.memory = (torch.arange(items), (None, torch.arange(items) * 10))  # a nest, with a hole in it
        self.rows: list[int] = []

    def start(self, items: Tensor) -> Tree:
        return (torch.zeros(len(items), 1, dtype=torch.long), torch.zeros(len(items), 2))

    def only(self, items: Tensor) -> Tree:
        return (items, (None, items * 10))

    def step(self, tokens: Tensor, state: Tree, memory: Tree) -> tuple[Tensor, Tree]:
        code, other = state
        item, (_, ten) = memory
        assert torch.equal(ten, item * 10), "memory leaves were moved apart"
        assert code.shape[0] == tokens.numel()
        assert len(item) == len(tokens)
        self.rows.append(len(item))
        code = (code * 31 + tokens.reshape(-1, 1) + 1) % TABLE
        return self.scores[item[:, None], code.view(tokens.shape)], (code, other + 1)

    def search(self, settings: GenerationConfig, items: Tensor | None = None, **more: Any) -> Hypotheses:
        items = torch.arange(len(self.scores)) if items is None else items
        return search(self.step, self.start(items), self.only(items), settings, bos=BOS, eos=EOS, **more)

    def log_probs(self, item: int, prefix: tuple[int, ...]) -> Tensor:
        """Of the next token, by a literal walk over what was said."""
        code = 0
        for token in (BOS, *prefix):
            code = (code * 31 + token + 1) % TABLE
        return self.scores[item, code].log_softmax(-1)


def allowed(prefix: tuple[int, ...], settings: GenerationConfig, forbidden: tuple[int, ...]) -> list[int]:
    """What may follow, by the letter."""
    able = []
    for token in range(V):
        after, size = (*prefix, token), settings.no_repeat_ngram_size
        grams = [after[i : i + size] for i in range(len(after) - size + 1)] if size else []
        early = token == EOS and len(prefix) < settings.min_new_tokens
        if token not in forbidden and not early and len(set(grams)) == len(grams):
            able.append(token)
    return able or [EOS]  # nothing left to say


def brute_force(
    table: Table, item: int, settings: GenerationConfig, forbidden: tuple[int, ...]
) -> list[tuple[float, tuple[int, ...]]]:
    """All sentences with their scores, best first."""
    found = []

    def grow(prefix: tuple[int, ...], total: float) -> None:
        if prefix and (prefix[-1] == EOS or len(prefix) == settings.max_new_tokens):
            found.append((total / len(prefix) ** settings.length_penalty, prefix))
            return
        log_probs = table.log_probs(item, prefix)
        for token in allowed(prefix, settings, forbidden):
            grow((*prefix, token), total + float(log_probs[token]))

    grow((), 0.0)
    return sorted(found, reverse=True)


def sentences(found: Hypotheses, item: int) -> list[tuple[float, tuple[int, ...]]]:
    """Of one item, those that exist, with their `<eos>` where it was said."""
    rows = zip(found.scores[item].tolist(), found.tokens[item].tolist(), found.lengths[item].tolist(), strict=True)
    return [(score, tuple(tokens[:length])) for score, tokens, length in rows if math.isfinite(score)]


def same(left: list[tuple[float, tuple[int, ...]]], right: list[tuple[float, tuple[int, ...]]]) -> None:
    """Equal, but that those within 1e-5 of each other may stand in either order."""
    assert len(left) == len(right)
    assert [score for score, _ in left] == pytest.approx([score for score, _ in right], abs=1e-5)
    by_words = {words: score for score, words in right}
    assert by_words.keys() == {words for _, words in left}
    assert all(score == pytest.approx(by_words[words], abs=1e-5) for score, words in left)

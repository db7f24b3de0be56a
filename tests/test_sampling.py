"""Drawing sentences at random, over tables of random scores."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_language import Table, V, same, sentences
from torch import Tensor

from vlrnn.generation.search import GenerationConfig, search
from vlrnn.nn.batching import Tree


def test_a_seed_gives_the_same_again() -> None:
    table = Table(items=3)
    settings = GenerationConfig(temperature=1.0, num_return_sequences=5, max_new_tokens=6)
    first, second, third = (table.search(settings, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.tokens, second.tokens)
    assert torch.equal(first.scores, second.scores)
    assert not (first.tokens.shape == third.tokens.shape and torch.equal(first.tokens, third.tokens))


@pytest.mark.parametrize("extra", [{"top_k": 1}, {"top_p": 1e-6}, {}])
def test_drawing_narrowly_is_greedy(extra: dict[str, float]) -> None:
    table = Table(items=5)
    temperature = 1.0 if extra else 1e-6
    drawn = table.search(GenerationConfig(temperature=temperature, max_new_tokens=8, **extra))
    greedy = table.search(GenerationConfig(max_new_tokens=8))
    for item in range(5):
        same(sentences(drawn, item), sentences(greedy, item))


def test_frequencies_are_the_distribution(subtests: pytest.Subtests) -> None:
    for temperature, forbidden in product([0.5, 1.0, 2.0], [(), (0,)]):
        with subtests.test(temperature=temperature, forbidden=forbidden):
            table, draws, rows = Table(items=2), 20_000, 20
            settings = GenerationConfig(temperature=temperature, num_return_sequences=draws // rows, max_new_tokens=2)
            for item in range(2):
                again = torch.full((rows,), item)
                found = table.search(
                    settings, again, forbidden=forbidden, generator=torch.Generator().manual_seed(item)
                )
                scores = table.log_probs(item, ()) / temperature
                scores[list(forbidden)] = -torch.inf
                expected = scores.softmax(-1)
                counted = torch.bincount(found.tokens[:, :, 0].flatten(), minlength=V) / draws
                assert (counted - expected).abs().max() < 4 * 0.5 / math.sqrt(draws)
                assert (counted[list(forbidden)] == 0).all()


@given(seed=st.integers(0, 1000), top_k=st.integers(0, V), top_p=st.floats(0.05, 1.0))
def test_top_k_and_top_p_never_draw_outside(seed: int, top_k: int, top_p: float) -> None:
    table = Table(items=1, seed=seed)
    settings = GenerationConfig(temperature=1.3, top_k=top_k, top_p=top_p, num_return_sequences=200, max_new_tokens=1)
    drawn = set(table.search(settings).tokens.flatten().tolist())
    probs = (table.log_probs(0, ()) / 1.3).softmax(-1)
    ranked = probs.argsort(descending=True).tolist()
    probs = probs / probs[ranked[: top_k or V]].sum()
    top_tokens, reached = set(), 0.0
    for rank, token in enumerate(ranked):
        if (reached >= top_p - 1e-6 and reached > 0) or rank >= top_k > 0:
            break
        top_tokens.add(token)
        reached += float(probs[token])
    assert drawn <= top_tokens | (
        {ranked[len(top_tokens)]} if len(top_tokens) < V and abs(reached - top_p) < 1e-5 else set()
    )


def test_what_is_drawn_is_scored_by_the_model() -> None:
    table = Table(items=2)
    found = table.search(GenerationConfig(temperature=3.0, top_k=3, num_return_sequences=6, max_new_tokens=5))
    for item in range(2):
        for score, words in sentences(found, item):
            total = sum(float(table.log_probs(item, words[:at])[word]) for at, word in enumerate(words))
            assert score == pytest.approx(total / len(words), abs=1e-5)


def test_top_p_is_taken_of_what_top_k_left() -> None:
    """Of .5 and .2, .5 is more than .7 of what is left."""
    probs = torch.tensor([0.5, 0.2, 0.1, 0.08, 0.07, 0.05])

    def step(tokens: Tensor, state: Tree, memory: Tree) -> tuple[Tensor, Tree]:
        return probs.log().expand(*tokens.shape, -1), state

    def drawn(**more: Any) -> set[int]:
        settings = GenerationConfig(temperature=1.0, num_return_sequences=500, max_new_tokens=1, **more)
        found = search(step, torch.zeros(1, 1), torch.zeros(1, 1), settings, bos=1, eos=2)
        return set(found.tokens.flatten().tolist())

    assert drawn(top_k=2, top_p=0.7) == {0}
    assert drawn(top_k=2, top_p=0.72) == {0, 1}
    assert drawn(top_k=2) == {0, 1}
    assert drawn(top_p=0.7) == {0, 1}
    assert drawn(top_p=1e-40) == {0}


def test_what_is_no_number_is_not_drawn() -> None:
    table = Table(items=2)
    table.scores[0] = math.nan
    found = table.search(GenerationConfig(temperature=1.0, num_return_sequences=3, max_new_tokens=4))
    assert found.lengths[0].tolist() == [0, 0, 0]
    assert found.scores[0].isneginf().all()
    assert (found.lengths[1] > 0).all()

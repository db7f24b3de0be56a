"""The laws of search, over a step function that is a table of random scores: no network is needed."""

import math
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_language import BOS, EOS, Table, V, allowed, brute_force, same, sentences
from torch import Tensor

from vlrnn.generation.search import GenerationConfig, search
from vlrnn.nn.batching import Tree

SETTINGS = [
    ({}, (0,)),
    ({"min_new_tokens": 2}, (0,)),
    ({"no_repeat_ngram_size": 2}, (0, BOS)),
    ({"no_repeat_ngram_size": 1}, (0, 3)),
    ({"min_new_tokens": 3, "no_repeat_ngram_size": 1}, (0, BOS)),  # runs out of words
    ({}, ()),
]


def test_a_beam_as_wide_as_the_space_is_brute_force(subtests: pytest.Subtests) -> None:
    for length_penalty, (more, forbidden) in product([0.0, 0.6, 1, 2.0, -1], SETTINGS):
        with subtests.test(length_penalty=length_penalty, more=more, forbidden=forbidden):
            table = Table(items=3)
            wide = V**4 + 5
            settings = GenerationConfig(
                num_beams=wide, num_return_sequences=wide, max_new_tokens=4, length_penalty=length_penalty, **more
            )
            found = table.search(settings, forbidden=forbidden)
            for item in range(3):
                same(sentences(found, item), brute_force(table, item, settings, forbidden))


stopping = st.sampled_from([True, False, "never"])


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(0, 3),
    fewest=st.integers(0, 4),
    forbid=st.booleans(),
    early_stopping=stopping,
)
def test_one_beam_is_greedy(seed: int, size: int, fewest: int, forbid: bool, early_stopping: Any) -> None:
    table = Table(items=4, seed=seed)
    settings = GenerationConfig(
        max_new_tokens=8,
        no_repeat_ngram_size=size,
        min_new_tokens=fewest,
        length_penalty=0.7,
        early_stopping=early_stopping,
    )
    forbidden = (0, BOS) if forbid else ()
    found = table.search(settings, forbidden=forbidden)
    for item in range(4):
        prefix: tuple[int, ...] = ()
        total = 0.0
        while len(prefix) < 8 and prefix[-1:] != (EOS,):
            log_probs = table.log_probs(item, prefix)
            token = max(allowed(prefix, settings, forbidden), key=lambda each: float(log_probs[each]))
            prefix, total = (*prefix, token), total + float(log_probs[token])
        same(sentences(found, item), [(total / len(prefix) ** 0.7, prefix)])


@given(
    seed=st.integers(0, 10**6),
    width=st.integers(1, 6),
    penalty=st.sampled_from([0.0, 0.7, 1.0]),
    early_stopping=stopping,
)
def test_alone_is_as_in_a_batch(seed: int, width: int, penalty: float, early_stopping: Any) -> None:
    table = Table(items=5, seed=seed, ending=1.0)
    settings = GenerationConfig(
        num_beams=width,
        num_return_sequences=width,
        max_new_tokens=7,
        length_penalty=penalty,
        early_stopping=early_stopping,
        no_repeat_ngram_size=2,
    )
    together = table.search(settings, forbidden=(0,))
    for item in range(5):
        same(sentences(table.search(settings, torch.tensor([item]), forbidden=(0,)), 0), sentences(together, item))


@given(seed=st.integers(0, 10**6), width=st.integers(1, 8), penalty=st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_scores_are_sums_over_powers_of_lengths(seed: int, width: int, penalty: float) -> None:
    """Sum of log p over length ** penalty, `<eos>` counted; n-best sorted and distinct; `<eos>` closes and fills up."""
    table = Table(items=3, seed=seed)
    settings = GenerationConfig(num_beams=width, num_return_sequences=width, max_new_tokens=6, length_penalty=penalty)
    found = table.search(settings, forbidden=(0,))
    for item in range(3):
        found_sentences = sentences(found, item)
        assert len({words for _, words in found_sentences}) == len(found_sentences) > 0
        assert [score for score, _ in found_sentences] == sorted((score for score, _ in found_sentences), reverse=True)
        for score, words in found_sentences:
            total = sum(float(table.log_probs(item, words[:at])[word]) for at, word in enumerate(words))
            assert score == pytest.approx(total / len(words) ** penalty, abs=1e-5)
            assert EOS not in words[:-1]
            assert words[-1] == EOS or len(words) == 6
            assert 0 not in words
    for tokens, length in zip(found.tokens.flatten(0, 1), found.lengths.flatten(), strict=True):
        assert (tokens[length:] == EOS).all()


@pytest.mark.parametrize("width", [1, 4])
def test_never_a_crash_when_none_has_ended(width: int) -> None:
    table = Table(items=3, ending=-1e4)
    found = table.search(GenerationConfig(num_beams=width, num_return_sequences=width, max_new_tokens=5))
    assert found.tokens.shape == (3, width, 5)
    assert (found.lengths == 5).all()
    assert (found.tokens != EOS).all()
    assert found.scores.isfinite().all()


@pytest.mark.parametrize("width", [1, 3])
def test_finished_items_leave_the_batch(width: int) -> None:
    rows = []

    def step(tokens: Tensor, state: Tree, memory: Tree) -> tuple[Tensor, Tree]:
        """Item i ends after i words."""
        rows.append(len(memory))
        assert len(state) == tokens.numel()
        ends = (state >= memory.repeat_interleave(width)).view(tokens.shape)
        scores = torch.arange(V).expand(*tokens.shape, V) * 0.1
        return torch.where(torch.arange(V) == EOS, torch.where(ends, 50.0, -50.0)[..., None], scores), state + 1

    found = search(step, torch.zeros(6), torch.arange(6), GenerationConfig(num_beams=width), bos=BOS, eos=EOS)
    assert found.lengths[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert len(rows) == 6 if width == 1 else len(rows) < 9
    assert rows[0] == 6
    assert rows[-1] == 1
    assert rows == sorted(rows, reverse=True)


def test_more_beams_than_sentences() -> None:
    """Where only one sentence is possible, one is found, and nobody waits for the others."""
    table = Table(items=2)
    table.scores[:] = -torch.inf
    table.scores[..., EOS] = 0.0
    found = table.search(GenerationConfig(num_beams=4, num_return_sequences=4, max_new_tokens=30))
    assert found.scores[:, 0].tolist() == [0.0, 0.0]
    assert found.scores[:, 1:].isneginf().all()
    assert found.lengths[:, 0].tolist() == [1, 1]
    assert len(table.rows) == 1


def test_nothing_left_to_generate_ends() -> None:
    table = Table(items=2)
    settings = GenerationConfig(max_new_tokens=9, no_repeat_ngram_size=1, min_new_tokens=8)
    found = table.search(settings, forbidden=(0, BOS))
    assert found.lengths.flatten().tolist() == [3, 3]  # 3 and 4, in some order, and the end
    assert (found.tokens[:, 0, 2] == EOS).all()


# What has finished.


class ByHand(NamedTuple):
    """What a search of one item comes to: the best K that finished, best first, all that ever did, and the steps."""

    pool: list[tuple[float, tuple[int, ...]]]
    finished: list[tuple[float, tuple[int, ...]]]
    steps: int


def by_hand(table: Table, item: int, settings: GenerationConfig) -> ByHand:
    """A beam search of several beams, word by word, over lists, in double."""
    width, longest, penalty = settings.num_beams, settings.max_new_tokens, settings.length_penalty
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    pool: list[tuple[float, tuple[int, ...]]] = []
    finished: list[tuple[float, tuple[int, ...]]] = []
    for length in range(1, longest + 1):
        found = []
        for total, prefix in live:
            log_probs = table.log_probs(item, prefix).double()
            found += [(total + float(log_probs[token]), (*prefix, token)) for token in allowed(prefix, settings, ())]
        found = sorted(found, reverse=True)[: 2 * width]
        new = [
            (total / length**penalty, prefix)
            for total, prefix in found[:width]
            if prefix[-1] == EOS or length == longest
        ]
        finished += new
        pool = sorted([*pool, *new], reverse=True)[:width]
        live = [each for each in found if each[1][-1] != EOS][:width]
        if not live or length == longest:
            break
        if len(pool) == width:
            reach = longest if settings.early_stopping == "never" and penalty > 0 else length
            if settings.early_stopping is True or live[0][0] / reach**penalty <= pool[-1][0]:
                break
    return ByHand(pool, finished, length)


@given(
    seed=st.integers(0, 10**6),
    width=st.integers(2, 6),
    penalty=st.sampled_from([0.0, 0.5, 1.0, 2.0, -1.0]),
    ending=st.sampled_from([-1.0, 0.0, 1.0, 2.0]),
    early_stopping=stopping,
    more=st.sampled_from([{}, {"min_new_tokens": 2}, {"no_repeat_ngram_size": 1}]),
)
def test_what_has_finished_is_never_lost(
    seed: int, width: int, penalty: float, ending: float, early_stopping: Any, more: dict[str, int]
) -> None:
    """The best is never below any hypothesis that finished on the way; and all K are those of the search by hand."""
    table = Table(items=1, seed=seed, ending=ending)
    settings = GenerationConfig(
        num_beams=width,
        num_return_sequences=width,
        max_new_tokens=8,
        length_penalty=penalty,
        early_stopping=early_stopping,
        **more,
    )
    expected = by_hand(table, 0, settings)
    found = sentences(table.search(settings), 0)
    assert found[0][0] >= max(score for score, _ in expected.finished) - 1e-5
    same(found, expected.pool)
    assert len(table.rows) == expected.steps


def likely(*steps: dict[int, float]) -> Any:
    """A step whose probabilities are the same whatever was said: these, then all alike."""

    def step(tokens: Tensor, state: Tree, memory: Tree) -> tuple[Tensor, Tree]:
        probs = torch.full((52,), 1 / 52)
        if (time := int(state[0])) < len(steps):
            probs = torch.zeros(52)
            probs[list(steps[time])] = torch.tensor([*steps[time].values()])
        return probs.log().expand(*tokens.shape, -1), state + 1

    return step


def test_a_better_sentence_is_not_thrown_away_for_a_longer_one(subtests: pytest.Subtests) -> None:
    """`<eos>` alone: log .34 = -1.08; the best four others come to -2.42 a word."""
    for early_stopping, num_beams in product([False, "never"], [2, 3, 5]):
        with subtests.test(early_stopping=early_stopping, num_beams=num_beams):
            step = likely({0: 0.34, 2: 0.33, 3: 0.33}, {2: 0.5, 3: 0.5})
            settings = GenerationConfig(num_beams=num_beams, max_new_tokens=4, early_stopping=early_stopping)
            found = search(step, torch.zeros(1), torch.zeros(1), settings, bos=51, eos=0)
            assert found.tokens[0, 0, 0] == 0
            assert found.lengths.tolist() == [[1]]
            assert found.scores.item() == pytest.approx(math.log(0.34), abs=1e-5) == pytest.approx(-1.08, abs=0.005)


def test_a_length_penalty_beyond_float32(subtests: pytest.Subtests) -> None:
    """Scores of 1e-100 are still in order, and told."""
    for penalty, longest in product([50.0, -50.0], [5, 100]):
        with subtests.test(penalty=penalty, longest=longest):
            table = Table(items=1, ending=1.0)
            settings = GenerationConfig(
                num_beams=5, num_return_sequences=5, max_new_tokens=longest, length_penalty=penalty
            )
            found = table.search(settings, forbidden=())
            expected = by_hand(table, 0, settings).pool
            assert [words for _, words in sentences(found, 0)] == [words for _, words in expected]
            assert found.scores[0].tolist() == pytest.approx([score for score, _ in expected], rel=1e-4)

"""The laws of search, over a step function that is a table of random scores: no network is needed."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vlrnn.decoding.search import Decoding, Hypotheses, search
from vlrnn.errors import UserError
from vlrnn.nn.tree import Tree

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
        said, other = state
        item, (_, ten) = memory
        assert torch.equal(ten, item * 10), "memory leaves were moved apart"
        assert said.shape[0] == tokens.numel()
        assert len(item) == len(tokens)
        self.rows.append(len(item))
        said = (said * 31 + tokens.reshape(-1, 1) + 1) % TABLE
        return self.scores[item[:, None], said.view(tokens.shape)], (said, other + 1)

    def search(self, settings: Decoding, items: Tensor | None = None, **more: Any) -> Hypotheses:
        items = torch.arange(len(self.scores)) if items is None else items
        return search(self.step, self.start(items), self.only(items), settings, bos=BOS, eos=EOS, **more)

    def log_probs(self, item: int, said: tuple[int, ...]) -> Tensor:
        """Of the next token, by a literal walk over what was said."""
        code = 0
        for token in (BOS, *said):
            code = (code * 31 + token + 1) % TABLE
        return self.scores[item, code].log_softmax(-1)


def allowed(said: tuple[int, ...], settings: Decoding, forbidden: tuple[int, ...]) -> list[int]:
    """What may follow, by the letter."""
    able = []
    for token in range(V):
        after, size = (*said, token), settings.no_repeat_ngram_size
        grams = [after[i : i + size] for i in range(len(after) - size + 1)] if size else []
        early = token == EOS and len(said) < settings.min_new_tokens
        if token not in forbidden and not early and len(set(grams)) == len(grams):
            able.append(token)
    return able or [EOS]  # nothing left to say


def brute_force(
    table: Table, item: int, settings: Decoding, forbidden: tuple[int, ...]
) -> list[tuple[float, tuple[int, ...]]]:
    """All sentences with their scores, best first."""
    found = []

    def grow(said: tuple[int, ...], total: float) -> None:
        if said and (said[-1] == EOS or len(said) == settings.max_new_tokens):
            found.append((total / len(said) ** settings.length_penalty, said))
            return
        log_probs = table.log_probs(item, said)
        for token in allowed(said, settings, forbidden):
            grow((*said, token), total + float(log_probs[token]))

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


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1, 2.0, -1])
@pytest.mark.parametrize(
    ("more", "forbidden"),
    [
        ({}, (0,)),
        ({"min_new_tokens": 2}, (0,)),
        ({"no_repeat_ngram_size": 2}, (0, BOS)),
        ({"no_repeat_ngram_size": 1}, (0, 3)),
        ({"min_new_tokens": 3, "no_repeat_ngram_size": 1}, (0, BOS)),  # runs out of words
        ({}, ()),
    ],
)
def test_a_beam_as_wide_as_the_space_is_brute_force(
    length_penalty: float, more: dict[str, int], forbidden: tuple[int, ...]
) -> None:
    table = Table(items=3)
    wide = V**4 + 5
    settings = Decoding(
        num_beams=wide, num_return_sequences=wide, max_new_tokens=4, length_penalty=length_penalty, **more
    )
    found = table.search(settings, forbidden=forbidden)
    for item in range(3):
        same(sentences(found, item), brute_force(table, item, settings, forbidden))


@given(seed=st.integers(0, 10**6), size=st.integers(0, 3), fewest=st.integers(0, 4), forbid=st.booleans())
def test_one_beam_is_greedy(seed: int, size: int, fewest: int, forbid: bool) -> None:
    table = Table(items=4, seed=seed)
    settings = Decoding(max_new_tokens=8, no_repeat_ngram_size=size, min_new_tokens=fewest, length_penalty=0.7)
    forbidden = (0, BOS) if forbid else ()
    found = table.search(settings, forbidden=forbidden)
    for item in range(4):
        said: tuple[int, ...] = ()
        total = 0.0
        while len(said) < 8 and said[-1:] != (EOS,):
            log_probs = table.log_probs(item, said)
            token = max(allowed(said, settings, forbidden), key=lambda each: float(log_probs[each]))
            said, total = (*said, token), total + float(log_probs[token])
        same(sentences(found, item), [(total / len(said) ** 0.7, said)])


@given(seed=st.integers(0, 10**6), width=st.integers(1, 6), penalty=st.sampled_from([0.0, 0.7, 1.0]))
def test_alone_is_as_in_a_batch(seed: int, width: int, penalty: float) -> None:
    table = Table(items=5, seed=seed, ending=1.0)
    settings = Decoding(
        num_beams=width, num_return_sequences=width, max_new_tokens=7, length_penalty=penalty, no_repeat_ngram_size=2
    )
    together = table.search(settings, forbidden=(0,))
    for item in range(5):
        same(sentences(table.search(settings, torch.tensor([item]), forbidden=(0,)), 0), sentences(together, item))


@given(seed=st.integers(0, 10**6), width=st.integers(1, 8), penalty=st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_scores_are_what_they_say(seed: int, width: int, penalty: float) -> None:
    """Sum of log p over length ** penalty, `<eos>` counted; n-best sorted and distinct; `<eos>` closes and fills up."""
    table = Table(items=3, seed=seed)
    settings = Decoding(num_beams=width, num_return_sequences=width, max_new_tokens=6, length_penalty=penalty)
    found = table.search(settings, forbidden=(0,))
    for item in range(3):
        said = sentences(found, item)
        assert len({words for _, words in said}) == len(said) > 0
        assert [score for score, _ in said] == sorted((score for score, _ in said), reverse=True)
        for score, words in said:
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
    found = table.search(Decoding(num_beams=width, num_return_sequences=width, max_new_tokens=5))
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

    found = search(step, torch.zeros(6), torch.arange(6), Decoding(num_beams=width), bos=BOS, eos=EOS)
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
    found = table.search(Decoding(num_beams=4, num_return_sequences=4, max_new_tokens=30))
    assert found.scores[:, 0].tolist() == [0.0, 0.0]
    assert found.scores[:, 1:].isneginf().all()
    assert found.lengths[:, 0].tolist() == [1, 1]
    assert len(table.rows) == 1


def test_nothing_left_to_say_ends() -> None:
    table = Table(items=2)
    settings = Decoding(max_new_tokens=9, no_repeat_ngram_size=1, min_new_tokens=8)
    found = table.search(settings, forbidden=(0, BOS))
    assert found.lengths.flatten().tolist() == [3, 3]  # 3 and 4, in some order, and the end
    assert (found.tokens[:, 0, 2] == EOS).all()


# Drawing at random.


def test_a_seed_gives_the_same_again() -> None:
    table = Table(items=3)
    settings = Decoding(temperature=1.0, num_return_sequences=5, max_new_tokens=6)
    first, second, third = (table.search(settings, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.tokens, second.tokens)
    assert torch.equal(first.scores, second.scores)
    assert not (first.tokens.shape == third.tokens.shape and torch.equal(first.tokens, third.tokens))


@pytest.mark.parametrize("extra", [{"top_k": 1}, {"top_p": 1e-6}, {}])
def test_drawing_narrowly_is_greedy(extra: dict[str, float]) -> None:
    table = Table(items=5)
    temperature = 1.0 if extra else 1e-6
    drawn = table.search(Decoding(temperature=temperature, max_new_tokens=8, **extra))
    greedy = table.search(Decoding(max_new_tokens=8))
    for item in range(5):
        same(sentences(drawn, item), sentences(greedy, item))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("forbidden", [(), (0,)])
def test_frequencies_are_the_distribution(temperature: float, forbidden: tuple[int, ...]) -> None:
    table, draws = Table(items=2), 20_000
    settings = Decoding(temperature=temperature, num_return_sequences=draws, max_new_tokens=2)
    found = table.search(settings, forbidden=forbidden, generator=torch.Generator().manual_seed(0))
    for item in range(2):
        scores = table.log_probs(item, ()) / temperature
        scores[list(forbidden)] = -torch.inf
        expected = scores.softmax(-1)
        counted = torch.bincount(found.tokens[item, :, 0], minlength=V) / draws
        assert (counted - expected).abs().max() < 4 * 0.5 / math.sqrt(draws)
        assert (counted[list(forbidden)] == 0).all()


@given(seed=st.integers(0, 1000), top_k=st.integers(0, V), top_p=st.floats(0.05, 1.0))
def test_top_k_and_top_p_never_draw_outside(seed: int, top_k: int, top_p: float) -> None:
    table = Table(items=1, seed=seed)
    settings = Decoding(temperature=1.3, top_k=top_k, top_p=top_p, num_return_sequences=200, max_new_tokens=1)
    drawn = set(table.search(settings).tokens.flatten().tolist())
    probs = (table.log_probs(0, ()) / 1.3).softmax(-1)
    ranked = probs.argsort(descending=True).tolist()
    kept, reached = set(), 0.0
    for rank, token in enumerate(ranked):
        if (reached >= top_p - 1e-6 and reached > 0) or (top_k and rank >= top_k):
            break
        kept.add(token)
        reached += float(probs[token])
    assert drawn <= kept | ({ranked[len(kept)]} if len(kept) < V and abs(reached - top_p) < 1e-5 else set())


def test_what_is_drawn_is_scored_by_the_model() -> None:
    table = Table(items=2)
    found = table.search(Decoding(temperature=3.0, top_k=3, num_return_sequences=6, max_new_tokens=5))
    for item in range(2):
        for score, words in sentences(found, item):
            total = sum(float(table.log_probs(item, words[:at])[word]) for at, word in enumerate(words))
            assert score == pytest.approx(total / len(words), abs=1e-5)


# Settings.


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_beams": 0},
        {"max_new_tokens": 0},
        {"num_return_sequences": 0},
        {"min_new_tokens": -1},
        {"no_repeat_ngram_size": -1},
        {"temperature": 1.0, "top_k": -1},
        {"min_new_tokens": 5, "max_new_tokens": 5},
        {"temperature": 1.0, "top_p": 0.0},
        {"temperature": 1.0, "top_p": 1.1},
        {"temperature": 1.0, "top_p": math.nan},
        {"top_k": 3},
        {"top_p": 0.9},
        {"num_return_sequences": 2},
        {"num_beams": 2, "num_return_sequences": 3},
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"temperature": 1.0, "num_beams": 2},
        {"length_penalty": math.nan},
        {"length_penalty": math.inf},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError) as told:
        Decoding(**wrong)
    assert "\n" not in str(told.value)
    assert any(name in str(told.value) for name in wrong)


def test_settings_describe_themselves() -> None:
    settings = Decoding(num_beams=3, length_penalty=0.7)
    assert settings.describe()["num_beams"] == 3
    assert Decoding(**settings.describe()) == settings

"""Constraints against literal loops."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vlrnn.generation.logits_processors import allowed_sequences, min_new_tokens, no_repeat_ngram, suppress_tokens

V = 5
prefixes = st.integers(1, 4).flatmap(
    lambda rows: st.integers(0, 9).flatmap(
        lambda length: st.lists(
            st.lists(st.integers(0, V - 1), min_size=length, max_size=length), min_size=rows, max_size=rows
        )
    )
)


def forbidden(constraint: object, rows: list[list[int]]) -> list[set[int]]:
    """What is forbidden to each row; the rest must be as it was."""
    before = torch.randn(len(rows), V).log_softmax(-1)
    after: Tensor = constraint(before.clone(), torch.tensor(rows, dtype=torch.long).view(len(rows), -1))
    assert after.shape == before.shape
    assert torch.equal(after[~after.isneginf()], before[~after.isneginf()])
    return [set(row.isneginf().nonzero().flatten().tolist()) for row in after]


@given(rows=prefixes, tokens=st.lists(st.integers(0, V - 1), min_size=1))
def test_never(rows: list[list[int]], tokens: list[int]) -> None:
    assert forbidden(suppress_tokens(tokens), rows) == [set(tokens)] * len(rows)


@given(rows=prefixes, token=st.integers(0, V - 1), length=st.integers(0, 10))
def test_not_before(rows: list[list[int]], token: int, length: int) -> None:
    assert forbidden(min_new_tokens(token, length), rows) == [{token} if len(rows[0]) < length else set()] * len(rows)


@given(rows=prefixes, size=st.integers(1, 5))
def test_no_repeat_ngram(rows: list[list[int]], size: int) -> None:
    """No n-gram may stand twice, whether or not the two touch or overlap."""
    expected = []
    for row in rows:
        grams = {tuple(row[i : i + size]) for i in range(len(row) - size + 1)}
        able = [tuple((*row, token)[-size:]) for token in range(V)]
        expected.append({token for token in range(V) if len(row) >= size and able[token] in grams})
    assert forbidden(no_repeat_ngram(size), rows) == expected


def test_what_is_forbidden_already_stays_so() -> None:
    scores = torch.full((1, V), -torch.inf)
    again = no_repeat_ngram(1)(scores, torch.tensor([[0, 1, 1, 1]]))
    assert again.isneginf().all()  # and no NaN


sentences = st.lists(st.lists(st.integers(0, V - 2), max_size=3).map(lambda words: [*words, V - 1]), min_size=1)


@given(allowed=sentences, data=st.data())
def test_one_of_a_closed_set(allowed: list[list[int]], data: st.DataObject) -> None:
    """What may follow are the next words of the sentences that begin so; after anything else, nothing may."""
    length = data.draw(st.integers(0, 5))
    begun = st.sampled_from(allowed).map(lambda sentence: [*sentence, *[V - 1] * length][:length])
    anything = st.lists(st.integers(0, V - 1), min_size=length, max_size=length)
    rows = data.draw(st.lists(begun | anything, min_size=1, max_size=4))
    expected = [
        set(range(V)) - {each[length] for each in allowed if len(each) > length and each[:length] == row}
        for row in rows
    ]
    assert forbidden(allowed_sequences(allowed), rows) == expected

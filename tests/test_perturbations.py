"""Views of examples: each changes what it says, and nothing else."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.data.batches import Item, constant_image, derangement, first_words, shuffled_words, swapped_images
from vlrnn.data.records import Example
from vlrnn.errors import UserError

IDS = st.sets(st.integers(0, 99) | st.text(max_size=3), min_size=2, max_size=12)
ROWS = st.lists(st.lists(st.integers(1, 9), max_size=8), min_size=1, max_size=4)


def item(rows: list[list[int]], image_id: str = "a") -> Item:
    examples = tuple(Example(f"{image_id}{n}", image_id, f"{image_id}.png", question="?") for n in range(len(rows)))
    return Item(examples, None, torch.ones(2, 3), rows)


@given(IDS, st.integers(0, 5))
def test_a_derangement_moves_every_id_and_loses_none(ids: set[int | str], seed: int) -> None:
    others = derangement(ids, seed)
    assert others.keys() == set(others.values()) == ids
    assert all(id != other for id, other in others.items())
    assert derangement(sorted(ids, key=str, reverse=True), seed) == others


def test_derangements_of_several_seeds_differ() -> None:
    drawn = {tuple(derangement(range(20), seed).values()) for seed in range(5)}
    assert len(drawn) == 5
    with pytest.raises(UserError, match="needs at least two images; there are 1"):
        derangement(["a", "a"])


def test_images_are_replaced_and_nothing_else() -> None:
    it = item([[4, 5], [6]])
    blank = torch.zeros(2, 3)
    changed = constant_image(blank)(it)
    assert changed.regions is blank
    assert (changed.examples, changed.rows, changed.pixels) == (it.examples, it.rows, None)
    regions = {"a": torch.ones(2, 3), "b": torch.full((2, 3), 2.0)}
    changed = swapped_images({"a": "b", "b": "a"}, regions.__getitem__)(it)
    assert changed.regions is regions["b"]
    assert (changed.examples, changed.rows) == (it.examples, it.rows)


@given(ROWS, st.integers(0, 9))
def test_questions_are_cut(rows: list[list[int]], count: int) -> None:
    it = item(rows)
    changed = first_words(count)(it)
    assert all(len(cut) == min(count, len(row)) for cut, row in zip(changed.rows, rows, strict=True))
    assert all(row[: len(cut)] == cut for cut, row in zip(changed.rows, rows, strict=True))
    assert changed.regions is it.regions


@given(ROWS, st.integers(0, 9))
def test_words_are_shuffled_by_question_and_seed_alone(rows: list[list[int]], seed: int) -> None:
    it = item(rows)
    changed = shuffled_words(seed)(it)
    assert list(map(Counter, changed.rows)) == list(map(Counter, rows))
    assert shuffled_words(seed)(it).rows == changed.rows
    last = it._replace(examples=it.examples[-1:], rows=rows[-1:])
    assert shuffled_words(seed)(last).rows == changed.rows[-1:]


def test_shuffling_shuffles() -> None:
    row = list(range(1, 20))
    assert len({tuple(shuffled_words(seed)(item([row])).rows[0]) for seed in range(5)} | {tuple(row)}) == 6

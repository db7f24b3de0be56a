"""How examples are dealt out to several processes, and what each draws."""

import random
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from vlrnn.data.loaders import GlobalShuffleSampler, ResumableLoader, fold_in_rank
from vlrnn.errors import UserError


class Counted(NamedTuple):
    """A batch of numbers."""

    items: list[int]
    repeated: bool = False


def shares(processes: int, count: int, batch: int) -> list[ResumableLoader]:
    """The loaders of all processes, that draw the same order."""
    loaders = []
    for rank in range(processes):
        sampler = GlobalShuffleSampler(range(count), processes, rank, batch)  # type: ignore[arg-type]
        loaders.append(ResumableLoader(range(count), batch, sampler=sampler, collate_fn=Counted))  # type: ignore[arg-type]
    return loaders


@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 4))
def test_processes_share_the_batches_of_one(processes: int, count: int, batch: int) -> None:
    """Whose size is theirs together; all have as many, and what a process repeats for that counts nothing."""
    torch.manual_seed(5)
    one = list(DataLoader(range(count), batch * processes, shuffle=True, collate_fn=list))  # type: ignore[arg-type]
    given_out: list[list[Counted]] = []
    for loader in shares(processes, count, batch):
        torch.manual_seed(5)
        given_out.append(list(loader))  # type: ignore[arg-type]
        assert len(given_out[-1]) == len(loader) == len(one)
    for step, expected in zip(zip(*given_out, strict=True), one, strict=True):
        assert all(each.items for each in step)
        assert sorted(item for each in step if not each.repeated for item in each.items) == sorted(expected)


def test_an_epoch_goes_on_over_another_number_of_processes() -> None:
    """With as many items in a step; else the reason names the processes."""
    torch.manual_seed(5)
    (whole,) = shares(1, 11, 4)
    batches = list(whole)
    torch.manual_seed(5)
    (one,) = shares(1, 11, 4)
    next(iter(one))
    state = one.state_dict()
    rest = []
    for loader in shares(2, 11, 2):
        under_way = iter(loader)
        loader.load_state_dict(state)
        rest.append(list(under_way))
    both = [sorted(first.items + second.items) for first, second in zip(*rest, strict=True)]  # type: ignore[attr-defined]
    assert both == [sorted(each.items) for each in batches[1:]]  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"3 batches of 4 in 1 process, these have 6 batches of 2 in 1 process"):
        shares(1, 11, 2)[0].load_state_dict(state)
    with pytest.raises(UserError, match=r"in each of 2 processes, these have .* in 1 process.*number of processes"):
        shares(1, 11, 2)[0].load_state_dict({**state, "processes": 2})


def test_processes_draw_numbers_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    for rank in (None, 0, 1, 2):
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        for seeded in (torch.manual_seed, np.random.seed, random.seed):
            seeded(5)
        if rank is not None:
            fold_in_rank()
        drawn.append((torch.rand(()).item(), np.random.rand(), random.random()))
    assert drawn[0] == drawn[1]  # the first as one process alone
    for numbers in zip(*drawn[1:], strict=True):
        assert len(set(numbers)) == 3

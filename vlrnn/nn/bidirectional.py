"""A recurrence that reads a text both ways, where all of it is there: a question is, a caption that is being said is
not."""

import copy
from typing import Self

import torch
from torch import Tensor

from vlrnn.errors import UserError
from vlrnn.nn.recurrence import Recurrence, that_speaks
from vlrnn.nn.tree import Tree


class Bidirectional(Recurrence):
    """One copy of a cell reads from the first step to the last, another from the last to the first, and what they say
    of a step stands side by side (Schuster and Paliwal 1997; Graves and Schmidhuber 2005).

    It has no `step`, and is not its scan in chunks: the end must be there before the beginning can be told.

    Args:
        cell: any, D / 2 wide.
    """

    causal = False

    def __init__(self, cell: Recurrence) -> None:
        super().__init__()
        if not cell.causal:
            raise UserError("Bidirectional: the cell reads both ways already")
        self.width = 2 * cell.width
        self.forwards, self.backwards = copy.deepcopy(cell), copy.deepcopy(cell)

    def build(self, input_width: int) -> Self:
        self.forwards.build(input_width)
        self.backwards.build(input_width)
        return self

    def initial_state(self, batch_size: int) -> Tree:
        return self.forwards.initial_state(batch_size), self.backwards.initial_state(batch_size)

    def scan(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        there = self.forwards.scan(xs, state[0], lengths)
        back = self.backwards.scan(_turned(xs, lengths), state[1], lengths)
        return torch.cat([there[0], _turned(back[0], lengths)], -1), (there[1], back[1])

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        that_speaks(self)
        raise AssertionError("it does not speak")

    def layer_outputs(self, state: Tree) -> Tensor:
        return torch.cat([self.forwards.layer_outputs(state[0]), self.backwards.layer_outputs(state[1])], -1)

    def cell_state(self, state: Tree) -> Tensor:
        return torch.cat([self.forwards.cell_state(state[0]), self.backwards.cell_state(state[1])], -1)


def _turned(xs: Tensor, lengths: Tensor | None) -> Tensor:
    """The steps of each row [B, T, D] in the other order; what lies past its length stays where it is."""
    if lengths is None:
        return xs.flip(1)
    times, ends = torch.arange(xs.shape[1], device=xs.device), lengths.to(xs.device, non_blocking=True)[:, None]
    places = torch.where(times < ends, ends - 1 - times, times)
    return xs.gather(1, places[..., None].expand_as(xs))

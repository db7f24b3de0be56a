"""Wrappers of recurrences: residual and highway stacks, and both directions of time."""

import copy
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree, length_mask
from vlrnn.nn.recurrent.base import Recurrence, require_causal, stack_layers


class _Stack(Recurrence):
    """Stacked copies of a cell; from the second on, `join` combines the layer's input and output.

    Args:
        recurrence: any, of hidden_size D.
        num_layers: L, the number of copies.
        dropout: of the inputs of layers from the second on.
    """

    def __init__(self, recurrence: Recurrence, num_layers: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        if num_layers < 2:
            raise UserError(f"a stack has at least two layers, not {num_layers}")
        self.hidden_size, self.num_layers, self.dropout = recurrence.hidden_size, num_layers, dropout
        self.causal, self.accepts_initial_state = recurrence.causal, recurrence.accepts_initial_state
        self.cells = nn.ModuleList(copy.deepcopy(recurrence) for _ in range(num_layers))

    def build(self, input_width: int) -> Self:
        for depth, cell in enumerate(self._cells()):
            cell.build(self.hidden_size if depth else input_width)
        return self

    def join(self, depth: int, x: Tensor, y: Tensor) -> Tensor:
        """The result of layer `depth`, 1 or more, from its input x and the cell's output y, both [..., D]."""
        raise NotImplementedError

    def initial_state(self, batch_size: int) -> Tree:
        return tuple(cell.initial_state(batch_size) for cell in self._cells())

    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        after = []
        for depth, (cell, own) in enumerate(zip(self._cells(), state, strict=True)):
            given = F.dropout(xs, self.dropout, self.training) if depth else xs
            ys, new = cell(given, own, lengths)
            xs = self.join(depth, xs, ys) if depth else ys
            after.append(new)
        if lengths is not None:
            xs = xs.where(length_mask(lengths, xs)[..., None], 0.0)
        return xs, tuple(after)

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        after = []
        for depth, (cell, own) in enumerate(zip(self._cells(), state, strict=True)):
            given = F.dropout(x, self.dropout, self.training) if depth else x
            y, new = cell.step(given, own)
            x = self.join(depth, x, y) if depth else y
            after.append(new)
        return x, tuple(after)

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        found = []
        for depth, (cell, own) in enumerate(zip(self._cells(), state, strict=True)):
            found.append({name: each[:, -1] for name, each in cell.gates(x, own).items()})
            y, _ = cell.step(x, own)
            x = self.join(depth, x, y) if depth else y
        return stack_layers(found)

    def _cells(self) -> list[Recurrence]:
        return list(self.cells)  # type: ignore[arg-type]

    def layer_outputs(self, state: Tree) -> Tensor:
        outputs = [cell.layer_outputs(own)[:, -1] for cell, own in zip(self._cells(), state, strict=True)]
        joined = outputs[:1]
        for depth, y in enumerate(outputs[1:], 1):
            joined.append(self.join(depth, joined[-1], y))
        return torch.stack(joined, 1)

    def cell_state(self, state: Tree) -> Tensor:
        return self._cells()[-1].cell_state(state[-1])

    def layer_cells(self, state: Tree) -> Tensor | None:
        found = [cell.layer_cells(own) for cell, own in zip(self._cells(), state, strict=True)]
        return torch.cat([each[:, -1:] for each in found if each is not None], 1) if found[0] is not None else None


class ResidualStack(_Stack):
    """Each layer adds to its input, y = x + f(x) (He et al. 2016; over recurrences: Wu et al. 2016, section 3.1)."""

    def join(self, depth: int, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class HighwayStack(_Stack):
    """Each layer gates, unit by unit, its output and its input, y = t f(x) + (1 - t) x with t = s(W x + w), w starting
    at -1 (Srivastava, Greff, Schmidhuber 2015, eq. 3; over recurrences: Zhang et al. 2016)."""

    def build(self, input_width: int) -> Self:
        super().build(input_width)
        self.openings = nn.ModuleList(nn.Linear(self.hidden_size, self.hidden_size) for _ in range(self.num_layers - 1))
        for opening in self.openings:
            nn.init.constant_(opening.bias, -1.0)  # type: ignore[arg-type]
        return self

    def join(self, depth: int, x: Tensor, y: Tensor) -> Tensor:
        return torch.lerp(x, y, self.openings[depth - 1](x).sigmoid())


class Bidirectional(Recurrence):
    """One copy of a cell runs forwards over the sequence, another backwards, and their outputs at each step are
    concatenated (Schuster and Paliwal 1997; Graves and Schmidhuber 2005).

    It has no `step` and cannot run in chunks, since the first output depends on the last input.

    Args:
        recurrence: any causal one, of hidden_size D / 2.
    """

    causal = False

    def __init__(self, recurrence: Recurrence) -> None:
        super().__init__()
        if not recurrence.causal:
            raise UserError("Bidirectional: the recurrence is bidirectional already")
        self.hidden_size = 2 * recurrence.hidden_size
        self.forwards, self.backwards = copy.deepcopy(recurrence), copy.deepcopy(recurrence)

    def build(self, input_width: int) -> Self:
        self.forwards.build(input_width)
        self.backwards.build(input_width)
        return self

    def initial_state(self, batch_size: int) -> Tree:
        return self.forwards.initial_state(batch_size), self.backwards.initial_state(batch_size)

    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        ys, after = self.forwards(xs, state[0], lengths)
        reversed_ys, reversed_after = self.backwards(_turned(xs, lengths), state[1], lengths)
        return torch.cat([ys, _turned(reversed_ys, lengths)], -1), (after, reversed_after)

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        require_causal(self)
        raise AssertionError("it has no step")

    def layer_outputs(self, state: Tree) -> Tensor:
        return torch.cat([self.forwards.layer_outputs(state[0]), self.backwards.layer_outputs(state[1])], -1)

    def cell_state(self, state: Tree) -> Tensor:
        return torch.cat([self.forwards.cell_state(state[0]), self.backwards.cell_state(state[1])], -1)


def _turned(xs: Tensor, lengths: Tensor | None) -> Tensor:
    """The steps of each row [B, T, D] in reverse order; steps past its length stay in place."""
    if lengths is None:
        return xs.flip(1)
    times, ends = torch.arange(xs.shape[1], device=xs.device), lengths.to(xs.device, non_blocking=True)[:, None]
    places = torch.where(times < ends, ends - 1 - times, times)
    return xs.gather(1, places[..., None].expand_as(xs))

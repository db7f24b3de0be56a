"""Recurrences that are made of layers of our own: how layers stand on each other, and what padding does to them.

The fused kernels of `recurrence` do this themselves. Knows nothing of what is in a layer.
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.nn.layout import within
from vlrnn.nn.recurrence import Recurrence, stack_layers
from vlrnn.nn.tree import Tree, leaves, map_tree


class Layer(nn.Module):
    """One layer, D wide. Its state is a tensor or a tuple of tensors [B, ...], the first of which is what it said last
    [B, D]."""

    def initial(self, batch_size: int) -> Tree:
        """The state before the first step, zeros."""
        raise NotImplementedError

    def scan(self, xs: Tensor, state: Tree, there: Tensor | None) -> tuple[Tensor, Tree]:
        """Run over a sequence.

        Args:
            xs: [B, T, I].
            state: of B rows.
            there: [B, T], which steps are within their row, the first ones; the state stays as it was at all others,
                and what is said there has no meaning. None: all are.

        Returns:
            outputs [B, T, D] and the state after the last step.
        """
        raise NotImplementedError

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """One step, which is a scan of length one: x [B, I] -> [B, D] and the next state."""
        ys, state = self.scan(x[:, None], state, None)
        return ys[:, 0], state

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        """How far its gates open at a step, in 0..1, name -> [B, G]; as `Recurrence.gates`."""
        return {}


class Layered(Recurrence):
    """What stacks of layers share. Every leaf of the state is [B, L, ...].

    Args:
        width: D.
        layers: how many recurrences stand on each other.
        dropout: share of the outputs between layers that is dropped in training.
    """

    def __init__(self, width: int = 512, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        self.dropout = dropout

    def _layer(self, input_width: int) -> Layer:
        raise NotImplementedError

    def build(self, input_width: int) -> Self:
        self.stack = nn.ModuleList(self._layer(self.width if depth else input_width) for depth in range(self.layers))
        return self

    def initial_state(self, batch_size: int) -> Tree:
        return _stacked([layer.initial(batch_size) for layer in self._layers()])

    def scan(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        there = None if lengths is None else within(lengths, xs)
        after = []
        for depth, layer in enumerate(self._layers()):
            if depth:
                xs = F.dropout(xs, self.dropout, self.training)
            if there is not None:
                xs = xs.where(there[..., None], 0.0)  # what is no number past the end must not come near a gradient
            xs, new = layer.scan(xs, _of_layer(state, depth), there)
            after.append(new)
        return xs if there is None else xs.where(there[..., None], 0.0), _stacked(after)

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        after = []
        for depth, layer in enumerate(self._layers()):
            if depth:
                x = F.dropout(x, self.dropout, self.training)
            x, new = layer.step(x, _of_layer(state, depth))
            after.append(new)
        return x, _stacked(after)

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        found = []
        for depth, layer in enumerate(self._layers()):
            own = _of_layer(state, depth)
            found.append(layer.gates(x, own))
            x, _ = layer.step(x, own)
        return stack_layers(found)

    def _layers(self) -> list[Layer]:
        return list(self.stack)  # type: ignore[arg-type]

    def layer_outputs(self, state: Tree) -> Tensor:
        return leaves(state)[0]

    def cell_state(self, state: Tree) -> Tensor:
        return leaves(state)[0][:, -1]


def _of_layer(state: Tree, depth: int) -> Tree:
    return map_tree(lambda leaf: leaf[:, depth], state)


def _stacked(states: list[Tree]) -> Tree:
    return map_tree(lambda *layers: torch.stack(layers, 1), *states)

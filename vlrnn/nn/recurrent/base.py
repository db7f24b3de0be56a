"""The interface of recurrences, and the base of those that are stacked layer by layer.

A recurrence is built in two steps: the constructor takes hyperparameters, `build` the input width, which follows from
where the recurrence is used. A state is a nest of tensors whose leaves are batch first, so that a search can reorder
rows without knowledge of the cell.
"""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree, leaves, length_mask, map_tree


class Recurrence(Configurable, nn.Module):
    """The interface. B rows, T time steps, I width of the input, D width of the output.

    Law: `scan` = as many `step`s = `scan` in chunks, in evaluation mode (dropout draws anew in each call).
    """

    hidden_size: int

    causal: bool = True
    """Whether what it says of a step hangs on no later one, so that it can say something word by word."""

    accepts_initial_state: bool = True
    """Whether something may be put into its state, all leaves of which the next step reads. Where the state is large,
    or holds what was heard, an image rather comes as a first input."""

    def build(self, input_width: int) -> Self:
        """Make the parameters, for inputs of this width; returns itself."""
        raise NotImplementedError

    def initial_state(self, batch_size: int) -> Tree:
        """The state before the first step, of `batch_size` rows."""
        raise NotImplementedError

    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        """Run over a sequence.

        Args:
            xs: [B, T, I].
            state: of B rows.
            lengths: [B], 0..T; past its length a row's state stays as it was and its output is zero. They may lie on
                the CPU, where reading them waits for no GPU. None: all T.

        Returns:
            outputs [B, T, D] and the state after the last step.
        """
        raise NotImplementedError

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """One time step: x [B, I] -> output [B, D] and the next state."""
        raise NotImplementedError

    def cell_state(self, state: Tree) -> Tensor:
        """What the recurrence remembers beside what it says [B, D]: the cell of an LSTM, elsewhere the output."""
        raise NotImplementedError

    def layer_outputs(self, state: Tree) -> Tensor:
        """What every layer said last [B, L, D]."""
        raise NotImplementedError

    def layer_cells(self, state: Tree) -> Tensor | None:
        """What every layer remembers beside what it said [B, L, D]: the cells of LSTMs; None where nothing is."""
        return None

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        """How far its gates open at a step, in 0..1: name -> [B, L, G], by the input x [B, I] and the state before it.
        `forget` is the share of what is remembered that is kept. Nothing of a recurrence without gates."""
        return {}


def require_causal(recurrence: Recurrence) -> Recurrence:
    """The recurrence, which is to say something word by word.

    Raises:
        UserError: it reads both ways.
    """
    if not recurrence.causal:
        raise UserError(
            f"{type(recurrence).__name__} reads both ways, and what comes later is not there while something is being "
            "said: it is for question encoders alone"
        )
    return recurrence


def draw_weights(from_input: Tensor, from_state: Tensor, bias: Tensor, gates: int) -> None:
    """Draw what a gated recurrence begins with, each gate's block by itself: Glorot's uniform numbers for the input,
    orthogonal ones for the state (Saxe et al. 2014), zeros for the bias."""
    for block in from_input.data.chunk(gates):
        nn.init.xavier_uniform_(block)
    for block in from_state.data.chunk(gates):
        nn.init.orthogonal_(block)
    nn.init.zeros_(bias)


def stack_layers(gates: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The gates of each layer, name -> [B, G], as those of all, name -> [B, L, G]."""
    return {name: torch.stack([each[name] for each in gates], 1) for name in gates[0]}


class RecurrentLayer(nn.Module):
    """One layer, D wide. Its state is a tensor or a tuple of tensors [B, ...], the first of which is what it said last
    [B, D]."""

    def initial(self, batch_size: int) -> Tree:
        """The state before the first step, zeros."""
        raise NotImplementedError

    def forward(self, xs: Tensor, state: Tree, there: Tensor | None) -> tuple[Tensor, Tree]:
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
        ys, state = self(x[:, None], state, None)
        return ys[:, 0], state

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        """How far its gates open at a step, in 0..1, name -> [B, G]; as `Recurrence.gates`."""
        return {}


class LayeredRecurrence(Recurrence):
    """What stacks of layers share. Every leaf of the state is [B, L, ...].

    Args:
        hidden_size: D.
        num_layers: how many recurrences stand on each other.
        dropout: share of the outputs between layers that is dropped in training.
    """

    def __init__(self, hidden_size: int = 512, num_layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout

    def _layer(self, input_width: int) -> RecurrentLayer:
        raise NotImplementedError

    def build(self, input_width: int) -> Self:
        self.stack = nn.ModuleList(
            self._layer(self.hidden_size if depth else input_width) for depth in range(self.num_layers)
        )
        return self

    def initial_state(self, batch_size: int) -> Tree:
        return _stacked([layer.initial(batch_size) for layer in self._layers()])

    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        there = None if lengths is None else length_mask(lengths, xs)
        after = []
        for depth, layer in enumerate(self._layers()):
            if depth:
                xs = F.dropout(xs, self.dropout, self.training)
            if there is not None:
                xs = xs.where(there[..., None], 0.0)  # what is no number past the end must not come near a gradient
            xs, new = layer(xs, _of_layer(state, depth), there)
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

    def _layers(self) -> list[RecurrentLayer]:
        return list(self.stack)  # type: ignore[arg-type]

    def layer_outputs(self, state: Tree) -> Tensor:
        return leaves(state)[0]

    def cell_state(self, state: Tree) -> Tensor:
        return leaves(state)[0][:, -1]


def _of_layer(state: Tree, depth: int) -> Tree:
    return map_tree(lambda leaf: leaf[:, depth], state)


def _stacked(states: list[Tree]) -> Tree:
    return map_tree(lambda *layers: torch.stack(layers, 1), *states)

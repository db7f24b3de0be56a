"""Recurrences: vanilla RNN, GRU, LSTM, behind one interface.

A recurrence is built in two steps: the constructor takes what a person chooses (width, layers), `build` the width of
the input, which follows from where the recurrence stands. It never learns of images or words. A state is a nest of
tensors whose every leaf is batch first, so that a search can reorder it without knowing it.
"""

from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from vlrnn.nn.tree import Tree, map_tree
from vlrnn.parts import Part

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Recurrence(Part, nn.Module):
    """The interface. B rows, T time steps, I width of the input, D width of the output.

    Law: `scan` = as many `step`s = `scan` in chunks, in evaluation mode (dropout draws anew in each call).
    """

    width: int

    def build(self, input_width: int) -> Self:
        """Make the parameters, for inputs of this width; returns itself."""
        raise NotImplementedError

    def initial_state(self, batch_size: int) -> Tree:
        """The state before the first step, of `batch_size` rows."""
        raise NotImplementedError

    def scan(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        """Run over a sequence.

        Args:
            xs: [B, T, I].
            state: of B rows.
            lengths: [B], 0..T; past its length a row's state stays as it was and its output is zero. None: all T.

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


class _Fused(Recurrence):
    """What `torch.nn.RNN`, `GRU` and `LSTM` share: the fused kernels, their states turned batch first, their
    initialisation.

    Args:
        width: D.
        layers: how many recurrences stand on each other.
        dropout: share of the outputs between layers that is dropped in training.
        learned_state: learn the first state instead of starting at zero.
    """

    gates: int
    state_parts: int = 1

    def __init__(self, width: int = 512, layers: int = 1, dropout: float = 0.0, learned_state: bool = False) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        self.dropout = dropout if layers > 1 else 0.0  # torch warns of dropout that has no layers to stand between
        self.first = nn.Parameter(torch.zeros(self.state_parts, layers, width)) if learned_state else None

    def _kernel(self, input_width: int) -> nn.RNNBase:
        raise NotImplementedError

    def build(self, input_width: int) -> Self:
        self.kernel = self._kernel(input_width)
        for name, parameter in self.kernel.named_parameters():
            blocks = parameter.data.chunk(self.gates)
            for block in blocks:
                if name.startswith("weight_hh"):
                    nn.init.orthogonal_(block)
                elif name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(block)
                else:
                    nn.init.zeros_(block)
        return self

    def initial_state(self, batch_size: int) -> Tree:
        if self.first is None:
            recurrent = self.kernel.get_parameter("weight_hh_l0")
            first = recurrent.new_zeros(self.state_parts, self.layers, self.width)
        else:
            first = self.first
        parts = tuple(part.expand(batch_size, -1, -1) for part in first)
        return parts if self.state_parts > 1 else parts[0]

    def scan(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        batch_size, time, _ = xs.shape
        layer_first = map_tree(lambda leaf: leaf.transpose(0, 1).contiguous(), state)  # [B, L, D] -> [L, B, D]
        if lengths is None:
            ys, layer_first = self.kernel(xs, layer_first)
            return ys, map_tree(lambda leaf: leaf.transpose(0, 1), layer_first)
        # A packed sequence must have at least one step in every row: rows of length 0 run one and are put back.
        packed = pack_padded_sequence(xs, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        ys, layer_first = self.kernel(packed, layer_first)
        ys, _ = pad_packed_sequence(ys, batch_first=True, total_length=time)
        runs = (lengths > 0).view(batch_size, 1, 1)
        after = map_tree(lambda new, old: torch.where(runs, new.transpose(0, 1), old), layer_first, state)
        return torch.where(runs, ys, 0.0), after

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """One time step by the library's cell kernels, which a scan of length one would pay dearly for on a CPU."""
        parts = state if self.state_parts > 1 else (state,)
        after = []
        for layer in range(self.layers):
            if layer:
                x = F.dropout(x, self.dropout, self.training)
            weights = [getattr(self.kernel, f"{name}_l{layer}") for name in _WEIGHTS]
            new = self._cell(x, tuple(part[:, layer] for part in parts), weights)
            after.append(new)
            x = new[0]
        stacked = tuple(torch.stack(layers, 1) for layers in zip(*after, strict=True))
        return x, stacked if self.state_parts > 1 else stacked[0]

    def _cell(self, x: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]) -> tuple[Tensor, ...]:
        """One step of one layer: x [B, I] and its part of the state, each [B, D], -> the same after it."""
        raise NotImplementedError

    def cell_state(self, state: Tree) -> Tensor:
        return state[:, -1]

    def layer_outputs(self, state: Tree) -> Tensor:
        return state if self.state_parts == 1 else state[0]


class RNN(_Fused):
    """The vanilla recurrence, h' = f(W x + U h + b) (Elman 1990).

    Args:
        nonlinearity: f, `tanh` or `relu`.
        width, layers, dropout, learned_state: as everywhere.
    """

    gates = 1

    def __init__(
        self,
        width: int = 512,
        layers: int = 1,
        dropout: float = 0.0,
        learned_state: bool = False,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
    ) -> None:
        super().__init__(width, layers, dropout, learned_state)
        self.nonlinearity = nonlinearity

    def _kernel(self, input_width: int) -> nn.RNNBase:
        return nn.RNN(input_width, self.width, self.layers, self.nonlinearity, batch_first=True, dropout=self.dropout)

    def _cell(self, x: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]) -> tuple[Tensor, ...]:
        cell = torch.rnn_tanh_cell if self.nonlinearity == "tanh" else torch.rnn_relu_cell
        return (cell(x, state[0], *weights),)


class GRU(_Fused):
    """The gated recurrent unit (Cho et al. 2014), in the form whose reset gate acts behind the recurrent matrix."""

    gates = 3

    def _kernel(self, input_width: int) -> nn.RNNBase:
        return nn.GRU(input_width, self.width, self.layers, batch_first=True, dropout=self.dropout)

    def _cell(self, x: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]) -> tuple[Tensor, ...]:
        return (torch.gru_cell(x, state[0], *weights),)


class LSTM(_Fused):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with forget gates (Gers et al. 2000), whose bias starts
    at 1 (Jozefowicz et al. 2015). Its state is the pair (output, cell)."""

    gates = 4
    state_parts = 2

    def _kernel(self, input_width: int) -> nn.RNNBase:
        return nn.LSTM(input_width, self.width, self.layers, batch_first=True, dropout=self.dropout)

    def _cell(self, x: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.lstm_cell(x, state, *weights)

    def build(self, input_width: int) -> Self:
        super().build(input_width)
        for name, parameter in self.kernel.named_parameters():
            if name.startswith("bias_ih"):  # the other bias stays zero: the two are added
                parameter.data[self.width : 2 * self.width].fill_(1.0)
        return self

    def cell_state(self, state: Tree) -> Tensor:
        return state[1][:, -1]

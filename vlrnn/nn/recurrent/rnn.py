"""Elman RNN, GRU and LSTM, on the fused kernels of PyTorch."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree, map_tree
from vlrnn.nn.recurrent.base import Recurrence, draw_weights, stack_layers

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class _Fused(Recurrence):
    """The base of `torch.nn.RNN`, `GRU` and `LSTM`: fused kernels, batch-first states, initialisation.

    Args:
        hidden_size: D.
        num_layers: L, the number of layers.
        dropout: of the outputs between layers.
        learn_initial_state: make the initial state a parameter instead of zero.
    """

    kernel_class: type[Any]  # of `nn.RNNBase`
    kernel_options: Mapping[str, Any] = {}
    num_gates: int
    state_parts: int = 1

    def __init__(
        self, hidden_size: int = 512, num_layers: int = 1, dropout: float = 0.0, learn_initial_state: bool = False
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout if num_layers > 1 else 0.0  # torch warns of dropout with one layer
        self.first = (
            nn.Parameter(torch.zeros(self.state_parts, num_layers, hidden_size)) if learn_initial_state else None
        )

    def build(self, input_width: int) -> Self:
        options = {**self.kernel_options, "batch_first": True, "dropout": self.dropout}
        self.kernel: nn.RNNBase = self.kernel_class(input_width, self.hidden_size, self.num_layers, **options)
        for layer in range(self.num_layers):
            from_input, from_state, bias, other = self._weights(layer)
            draw_weights(from_input, from_state, bias, self.num_gates)
            nn.init.zeros_(other)  # the two are added
        return self

    def initial_state(self, batch_size: int) -> Tree:
        first: Tensor | None = self.first
        if first is None:
            first = self.kernel.all_weights[0][0].new_zeros(self.state_parts, self.num_layers, self.hidden_size)
        parts = tuple(part.expand(batch_size, -1, -1) for part in first)
        return parts if self.state_parts > 1 else parts[0]

    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        batch_size, time, _ = xs.shape
        layer_first = map_tree(lambda leaf: leaf.transpose(0, 1).contiguous(), state)  # [B, L, D] -> [L, B, D]
        if lengths is None:
            ys, layer_first = self.kernel(xs, layer_first)
            return ys, map_tree(lambda leaf: leaf.transpose(0, 1), layer_first)
        # A packed sequence must have at least one step in every row: rows of length 0 run one and are put back. The
        # library sorts rows too, but reads the order back off the GPU.
        steps, order = lengths.clamp(min=1).cpu().sort(descending=True, stable=True)
        to_sorted, back = (rows.to(xs.device, non_blocking=True) for rows in (order, order.argsort()))
        packed = pack_padded_sequence(xs.index_select(0, to_sorted), steps, batch_first=True)
        ys, layer_first = self.kernel(packed, map_tree(lambda leaf: leaf.index_select(1, to_sorted), layer_first))
        ys = pad_packed_sequence(ys, batch_first=True, total_length=time)[0].index_select(0, back)
        runs = (lengths > 0).view(batch_size, 1, 1).to(xs.device, non_blocking=True)
        after = map_tree(
            lambda new, old: torch.where(runs, new.index_select(1, back).transpose(0, 1), old), layer_first, state
        )
        return torch.where(runs, ys, 0.0), after

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """One time step by the cell kernels of torch; a sequence of length one is slow on a CPU."""
        parts = state if self.state_parts > 1 else (state,)
        after = []
        for layer in range(self.num_layers):
            if layer:
                x = F.dropout(x, self.dropout, self.training)
            new = self._cell(x, tuple(part[:, layer] for part in parts), self._weights(layer))
            after.append(new)
            x = new[0]
        stacked = tuple(torch.stack(layers, 1) for layers in zip(*after, strict=True))
        return x, stacked if self.state_parts > 1 else stacked[0]

    def _weights(self, layer: int) -> list[Tensor]:
        return [getattr(self.kernel, f"{name}_l{layer}") for name in _WEIGHTS]

    def _cell(self, x: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]) -> tuple[Tensor, ...]:
        """One step of one layer: x [B, I] and its part of the state, each [B, D], -> the same after it."""
        raise NotImplementedError

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        parts = state if self.state_parts > 1 else (state,)
        found = []
        for layer in range(self.num_layers):
            before = tuple(part[:, layer] for part in parts)
            weight_ih, weight_hh, bias_ih, bias_hh = weights = self._weights(layer)
            found.append(self._gates(F.linear(x, weight_ih, bias_ih) + F.linear(before[0], weight_hh, bias_hh)))
            x = self._cell(x, before, weights)[0]
        return stack_layers(found)

    def _gates(self, sums: Tensor) -> dict[str, Tensor]:
        """The gates [B, D] of a layer, from its concatenated preactivations [B, blocks * D]."""
        return {}

    def cell_state(self, state: Tree) -> Tensor:
        return state[:, -1]

    def layer_outputs(self, state: Tree) -> Tensor:
        return state if self.state_parts == 1 else state[0]


class RNN(_Fused):
    """The vanilla recurrence, h' = f(W x + U h + b) (Elman 1990).

    Args:
        nonlinearity: f, `tanh` or `relu`.
        hidden_size, num_layers, dropout: as of `LayeredRecurrence`.
        learn_initial_state: make the initial state a parameter instead of zero.
    """

    kernel_class = nn.RNN
    num_gates = 1

    def __init__(
        self,
        hidden_size: int = 512,
        num_layers: int = 1,
        dropout: float = 0.0,
        learn_initial_state: bool = False,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
    ) -> None:
        super().__init__(hidden_size, num_layers, dropout, learn_initial_state)
        self.nonlinearity = nonlinearity
        self.kernel_options = {"nonlinearity": nonlinearity}

    def _cell(self, x: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]) -> tuple[Tensor, ...]:
        cell = torch.rnn_tanh_cell if self.nonlinearity == "tanh" else torch.rnn_relu_cell
        return (cell(x, state[0], *weights),)


class GRU(_Fused):
    """The gated recurrent unit (Cho et al. 2014), in the form whose reset gate acts after the recurrent matrix."""

    kernel_class = nn.GRU
    num_gates = 3

    def _cell(self, x: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]) -> tuple[Tensor, ...]:
        return (torch.gru_cell(x, state[0], *weights),)

    def _gates(self, sums: Tensor) -> dict[str, Tensor]:
        reset, update, _ = sums.sigmoid().chunk(self.num_gates, -1)
        return {"reset": reset, "forget": update}


class LSTM(_Fused):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with forget gates (Gers et al. 2000):

    (i, f, g, o) = W x + U h + b,  c' = s(f) c + s(i) tanh(g),  h' = s(o) tanh(c').

    Its state is the pair (output h, cell c).

    Args:
        forget_bias: the initial bias b of f (1: Jozefowicz et al. 2015). The cell retains s(b) of itself at each step.
        chrono: the longest time dependency, in steps: the bias of f is drawn as the log of a uniform number between 1
            and chrono - 1, and that of i is its negative (Tallec and Ollivier 2018, eq. 16). It replaces
            `forget_bias`.
        hidden_size, num_layers, dropout: as of `LayeredRecurrence`.
        learn_initial_state: make the initial state a parameter instead of zero.
    """

    kernel_class = nn.LSTM
    num_gates = 4
    state_parts = 2

    def __init__(
        self,
        hidden_size: int = 512,
        num_layers: int = 1,
        dropout: float = 0.0,
        learn_initial_state: bool = False,
        forget_bias: float = 1.0,
        chrono: int | None = None,
    ) -> None:
        super().__init__(hidden_size, num_layers, dropout, learn_initial_state)
        if chrono is not None and chrono < 3:
            raise UserError(f"LSTM: chrono is a time of 3 steps at least, not {chrono}")
        self.forget_bias = forget_bias
        self.chrono = chrono

    def _cell(self, x: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.lstm_cell(x, state, *weights)

    def _gates(self, sums: Tensor) -> dict[str, Tensor]:
        input_gate, forget_gate, _, output_gate = sums.sigmoid().chunk(self.num_gates, -1)
        return {"input": input_gate, "forget": forget_gate, "output": output_gate}

    def build(self, input_width: int) -> Self:
        super().build(input_width)
        for layer in range(self.num_layers):
            biases = self.kernel.get_parameter(f"bias_ih_l{layer}").data.chunk(self.num_gates)
            input_bias, forget_bias, *_ = biases
            if self.chrono is None:
                forget_bias.fill_(self.forget_bias)
            else:
                forget_bias.uniform_(1, self.chrono - 1).log_()
                input_bias.copy_(-forget_bias)
        return self

    def cell_state(self, state: Tree) -> Tensor:
        return state[1][:, -1]

    def layer_cells(self, state: Tree) -> Tensor:
        return state[1]

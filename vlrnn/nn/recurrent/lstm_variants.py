"""Variants of the LSTM without fused kernels: input projections for all steps at once, then step by step. The state is
the pair (output h, cell c), each [B, L, D]."""

import torch
from torch import Tensor, nn

from vlrnn.nn.batching import Tree, map_tree
from vlrnn.nn.recurrent.base import LayeredRecurrence, RecurrentLayer, draw_weights

State = tuple[Tensor, Tensor]


class _GatedLayer(RecurrentLayer):
    """W x for all steps at once, then `advance` for each step."""

    def __init__(self, input_width: int, hidden_size: int, blocks: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.from_input = nn.Linear(input_width, blocks * hidden_size)
        self.from_output = nn.Linear(hidden_size, blocks * hidden_size, bias=False)
        draw_weights(self.from_input.weight, self.from_output.weight, self.from_input.bias, blocks)

    def project(self, xs: Tensor) -> Tensor:
        """The part of the gates that depends on the input: [..., I] -> [..., blocks * D]."""
        return self.from_input(xs)

    def advance(self, projected: Tensor, state: State) -> tuple[State, dict[str, Tensor]]:
        """One step from projected input [B, blocks * D]: the next state, and the gates, each [B, D]."""
        raise NotImplementedError

    def initial(self, batch_size: int) -> Tree:
        zeros = self.from_output.weight.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def forward(self, xs: Tensor, state: Tree, mask: Tensor | None) -> tuple[Tensor, Tree]:
        ys = []
        for time, projected in enumerate(self.project(xs).unbind(1)):
            new, _ = self.advance(projected, state)
            if mask is not None:
                runs = mask[:, time, None]
                new = map_tree(lambda after, before, runs=runs: torch.where(runs, after, before), new, state)
            state = new
            ys.append(state[0])
        return torch.stack(ys, 1), state

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        state, _ = self.advance(self.project(x), state)
        return state[0], state

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        return self.advance(self.project(x), state)[1]


class _LongMemory(LayeredRecurrence):
    def cell_state(self, state: Tree) -> Tensor:
        return state[1][:, -1]

    def layer_cells(self, state: Tree) -> Tensor:
        return state[1]


class _LayerNormLayer(_GatedLayer):
    def __init__(self, input_width: int, hidden_size: int) -> None:
        super().__init__(input_width, hidden_size, 4)
        self.from_input.bias = None  # type: ignore[assignment]  # the norm has a bias
        self.even_input, self.even_output = nn.LayerNorm(4 * hidden_size), nn.LayerNorm(4 * hidden_size, bias=False)
        self.even_cell = nn.LayerNorm(hidden_size)
        nn.init.ones_(self.even_input.bias.data[hidden_size : 2 * hidden_size])  # the forget gate

    def project(self, xs: Tensor) -> Tensor:
        return self.even_input(self.from_input(xs))

    def advance(self, projected: Tensor, state: State) -> tuple[State, dict[str, Tensor]]:
        h, c = state
        i, f, g, o = (projected + self.even_output(self.from_output(h))).chunk(4, -1)
        i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid()
        c = f * c + i * g.tanh()
        return (o * self.even_cell(c).tanh(), c), {"input": i, "forget": f, "output": o}


class LayerNormLSTM(_LongMemory):
    """An LSTM with layer norm of its preactivations and cell (Ba, Kiros, Hinton 2016, eq. 20 to 22):

    (i, f, g, o) = LN(U h) + LN(W x) + b,  c' = s(f) c + s(i) tanh(g),  h' = s(o) tanh(LN(c')),

    s the logistic function; the norm of U h has gains, the other two gains and biases, of which that of f starts at 1.
    """

    def _layer(self, input_width: int) -> RecurrentLayer:
        return _LayerNormLayer(input_width, self.hidden_size)


class _PeepholeLayer(_GatedLayer):
    def __init__(self, input_width: int, hidden_size: int) -> None:
        super().__init__(input_width, hidden_size, 4)
        nn.init.ones_(self.from_input.bias.data[hidden_size : 2 * hidden_size])
        self.peepholes = nn.Parameter(torch.empty(3, hidden_size).uniform_(-0.1, 0.1))

    def advance(self, projected: Tensor, state: State) -> tuple[State, dict[str, Tensor]]:
        h, c = state
        i, f, g, o = (projected + self.from_output(h)).chunk(4, -1)
        to_i, to_f, to_o = self.peepholes
        i, f = (i + to_i * c).sigmoid(), (f + to_f * c).sigmoid()
        c = f * c + i * g.tanh()
        o = (o + to_o * c).sigmoid()
        return (o * c.tanh(), c), {"input": i, "forget": f, "output": o}


class PeepholeLSTM(_LongMemory):
    """An LSTM whose gates depend on the cell, unit by unit (Gers and Schmidhuber 2000; in the form of Graves 2013, eq.
    7 to 11):

    i = s(W x + U h + p c),  f likewise,  c' = f c + i tanh(W x + U h),  o = s(W x + U h + p c'),  h' = o tanh(c'),

    with separate W, U and p for each gate and the candidate, and a bias in every sum, that of f starting at 1.
    """

    def _layer(self, input_width: int) -> RecurrentLayer:
        return _PeepholeLayer(input_width, self.hidden_size)


class _CoupledLayer(_GatedLayer):
    def __init__(self, input_width: int, hidden_size: int) -> None:
        super().__init__(input_width, hidden_size, 3)
        nn.init.constant_(self.from_input.bias.data[:hidden_size], -1.0)

    def advance(self, projected: Tensor, state: State) -> tuple[State, dict[str, Tensor]]:
        h, c = state
        i, g, o = (projected + self.from_output(h)).chunk(3, -1)
        i, o = i.sigmoid(), o.sigmoid()
        c = torch.lerp(c, g.tanh(), i)
        return (o * c.tanh(), c), {"forget": 1 - i, "output": o}


class CoupledLSTM(_LongMemory):
    """An LSTM with coupled input and forget gates (Greff et al. 2017, `CIFG`), a quarter fewer parameters:

    c' = (1 - i) c + i tanh(W x + U h),  h' = o tanh(c'),  i and o = s(W x + U h),

    every sum with a bias, that of i starting at -1.
    """

    def _layer(self, input_width: int) -> RecurrentLayer:
        return _CoupledLayer(input_width, self.hidden_size)

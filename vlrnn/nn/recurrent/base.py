"""Interface of recurrences, and the base of those with stacked layers.

The constructor takes hyperparameters, `build` the input size, which depends on where the recurrence is used. A state is
a nested tuple of tensors, batch first, so that a search can reorder the rows of any recurrence.
"""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree, check_leaves, check_pair, check_shape, leaves, length_mask, map_tree, trial


class Recurrence(Configurable, nn.Module):
    """Interface of recurrences. B rows, T time steps, inputs of I numbers, outputs of D numbers.

    Law: `forward` = T calls of `step` = `forward` in chunks, in evaluation mode (without dropout).
    """

    required = ("build", "initial_state", "forward", "step")

    hidden_size: int

    causal: bool = True
    """True if the output at step t depends on inputs up to t only; autoregressive decoding requires it."""

    accepts_initial_state: bool = True
    """True if features, as of an image, can be the initial state. Where the state is large, or contains past inputs,
    they are the first input instead."""

    def build(self, input_width: int) -> Self:
        """Make the parameters, for inputs of this size; returns itself."""
        raise NotImplementedError

    def check_built(self, input_width: int) -> None:
        """Check shapes, and the law `forward` = steps, on two rows of three random inputs."""
        name = type(self).__name__
        if not isinstance(getattr(self, "hidden_size", None), int):
            raise UserError(f"{name}: Recurrence requires the attribute hidden_size, D of its outputs [B, D]")
        if torch.empty(0).is_meta:  # built for its shapes alone
            return
        with trial(self):
            xs, start = torch.randn(2, 3, input_width), self.initial_state(2)
            check_leaves(start, 2, f"{name}.initial_state", "[B, ...]")
            found = self(xs, start)
            check_pair(found, f"{name}.forward", "outputs [B, T, D] and the next state")
            check_shape(found[0], (2, 3, self.hidden_size), f"the outputs of {name}.forward", "[B, T, D]")
            check_leaves(found[1], 2, f"{name}.forward", "[B, ...] as the next state")
            state = start
            for step in range(3 if self.causal else 0):
                pair = self.step(xs[:, step], state)
                check_pair(pair, f"{name}.step", "the output [B, D] and the next state")
                check_shape(pair[0], (2, self.hidden_size), f"the output of {name}.step", "[B, D]")
                check_leaves(pair[1], 2, f"{name}.step", "[B, ...] as the next state")
                difference = float((found[0][:, step] - pair[0]).abs().max())
                if not difference < 1e-3:
                    raise UserError(
                        f"{name}.forward(xs, state) must return the same as step by step over the sequence; at step "
                        f"{step + 1} the outputs differ by {difference:.2g}"
                    )
                state = pair[1]

    def initial_state(self, batch_size: int) -> Tree:
        """The state before the first step, of `batch_size` rows."""
        raise NotImplementedError

    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        """Run over a sequence.

        Args:
            xs: [B, T, I].
            state: of B rows.
            lengths: [B], 0..T, best on the CPU; past its length a row's state is unchanged and its output zero. None:
                all T.

        Returns:
            outputs [B, T, D] and the state after the last step.
        """
        raise NotImplementedError

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """One time step: x [B, I] -> output [B, D] and the next state."""
        raise NotImplementedError

    def cell_state(self, state: Tree) -> Tensor:
        """The cell state [B, D] of the last layer: the cell of an LSTM, elsewhere the output."""
        raise NotImplementedError

    def layer_outputs(self, state: Tree) -> Tensor:
        """The last output of every layer [B, L, D]; question encoders without pooling, and probes of hidden units,
        need it.

        Raises:
            UserError: the class does not define it.
        """
        raise UserError(f"{type(self).__name__} does not define layer_outputs(state): the last outputs [B, L, D]")

    def layer_cells(self, state: Tree) -> Tensor | None:
        """The cell state of every layer [B, L, D], of LSTMs; None where there is none."""
        return None

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        """The gates of a step, in 0..1, from the input x [B, I] and the state before it: name -> [B, L, G]. `forget` is
        the factor of the previous state. Empty for a recurrence without gates."""
        return {}


def require_causal(recurrence: Recurrence) -> Recurrence:
    """The recurrence, checked to be causal.

    Raises:
        UserError: it is not.
    """
    if not recurrence.causal:
        raise UserError(
            f"{type(recurrence).__name__} is not causal: its output depends on later inputs, which do not exist during "
            "generation; use it in question encoders only"
        )
    return recurrence


def draw_weights(from_input: Tensor, from_state: Tensor, bias: Tensor, gates: int) -> None:
    """Initialise a gated recurrence, block by block of the gates: Glorot uniform for the input, orthogonal for the
    state (Saxe et al. 2014), zeros for the bias."""
    for block in from_input.data.chunk(gates):
        nn.init.xavier_uniform_(block)
    for block in from_state.data.chunk(gates):
        nn.init.orthogonal_(block)
    nn.init.zeros_(bias)


def stack_layers(gates: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stack the gates of each layer, name -> [B, G], to name -> [B, L, G]."""
    return {name: torch.stack([each[name] for each in gates], 1) for name in gates[0]}


class RecurrentLayer(nn.Module):
    """One layer with outputs of D numbers. Its state is a tensor or a tuple of tensors [B, ...], the first of which is
    the last output [B, D]."""

    def initial(self, batch_size: int) -> Tree:
        """The state before the first step, zeros."""
        raise NotImplementedError

    def forward(self, xs: Tensor, state: Tree, mask: Tensor | None) -> tuple[Tensor, Tree]:
        """Run over a sequence.

        Args:
            xs: [B, T, I].
            state: of B rows.
            mask: [B, T], true for the steps within the length of a row, the first ones; at the others the state is
                unchanged and the output undefined. None: all true.

        Returns:
            outputs [B, T, D] and the state after the last step.
        """
        raise NotImplementedError

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """One step, `forward` of length one: x [B, I] -> [B, D] and the next state."""
        ys, state = self(x[:, None], state, None)
        return ys[:, 0], state

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        """The gates of a step, in 0..1, name -> [B, G]; as `Recurrence.gates`."""
        return {}


class LayeredRecurrence(Recurrence):
    """The base of recurrences with stacked layers. Every leaf of the state is [B, L, ...].

    Args:
        hidden_size: D.
        num_layers: L, the number of layers.
        dropout: of the outputs between layers.
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
        mask = None if lengths is None else length_mask(lengths, xs)
        after = []
        for depth, layer in enumerate(self._layers()):
            if depth:
                xs = F.dropout(xs, self.dropout, self.training)
            if mask is not None:
                xs = xs.where(mask[..., None], 0.0)  # a NaN past the length must not reach a gradient
            xs, new = layer(xs, _of_layer(state, depth), mask)
            after.append(new)
        return xs if mask is None else xs.where(mask[..., None], 0.0), _stacked(after)

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

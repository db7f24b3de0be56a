"""The laws of recurrences find what is broken: a cell is broken on purpose in many ways, and each is caught.

So decoders need not be tested with every cell, but with one of each kind (tests/every_cell.py).
"""

from collections.abc import Callable

import every_cell
import pytest
import test_recurrence as laws
import torch
from torch import Tensor

from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree, map_tree
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.lstm_variants import PeepholeLSTM
from vlrnn.nn.recurrent.rnn import GRU, LSTM


class StepIsAnother(GRU):
    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        y, after = super().step(x, state)
        return y, map_tree(lambda leaf: leaf * (1 + 1e-3), after)


class ResetsBetweenChunks(LSTM):
    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        return super().forward(xs, map_tree(torch.zeros_like, state) if xs.shape[1] > 1 else state, lengths)


class IgnoresLengths(GRU):
    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        return super().forward(xs, state)


class StateRunsPastTheLength(LSTM):
    """The outputs are right, the state is that of the last step."""

    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        ys, _ = super().forward(xs, state, lengths)
        return ys, super().forward(xs, state)[1]


class OutputsPastTheLength(GRU):
    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        ys, after = super().forward(xs, state, lengths)
        return torch.where(ys == 0, 0.1, ys), after


class MixesRows(GRU):
    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        ys, after = super().forward(xs, state, lengths)
        return ys + 1e-3 * ys.mean(0, keepdim=True), after


class UsesFutureInputs(LSTM):
    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        ahead = torch.cat([xs[:, 1:], xs[:, -1:]], 1)
        return super().forward(xs + 0.01 * ahead, state, lengths)


class StartsNonzero(GRU):
    def initial_state(self, batch_size: int) -> Tree:
        return map_tree(lambda leaf: leaf + 0.1, super().initial_state(batch_size))


class StateIsLayerFirst(LSTM):
    def initial_state(self, batch_size: int) -> Tree:
        return map_tree(lambda leaf: leaf.transpose(0, 1), super().initial_state(batch_size))


class DetachesState(LSTM):
    """The gradient ends at the state."""

    def forward(self, xs: Tensor, state: Tree, lengths: Tensor | None = None) -> tuple[Tensor, Tree]:
        return super().forward(xs.detach(), map_tree(torch.Tensor.detach, state), lengths)

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        return super().step(x, map_tree(lambda leaf: torch.zeros_like(leaf), state))


class DropsInEvaluation(GRU):
    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        return super().step(torch.nn.functional.dropout(x, 0.1), state)


class ReturnsOutputAsCell(LSTM):
    def cell_state(self, state: Tree) -> Tensor:
        return state[0][:, -1]


class ReordersLayers(GRU):
    def layer_outputs(self, state: Tree) -> Tensor:
        return super().layer_outputs(state).flip(1) * 0.5


class GateIsNoShare(LSTM):
    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        return {name: 2 * gate for name, gate in super().gates(x, state).items()}


class GateIsAnotherShare(PeepholeLSTM):
    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        return {name: 1 - gate for name, gate in super().gates(x, state).items()}


BROKEN = {
    "gru": (
        StepIsAnother,
        IgnoresLengths,
        OutputsPastTheLength,
        MixesRows,
        StartsNonzero,
        DropsInEvaluation,
        ReordersLayers,
    ),
    "lstm": (
        ResetsBetweenChunks,
        StateRunsPastTheLength,
        UsesFutureInputs,
        StateIsLayerFirst,
        DetachesState,
        ReturnsOutputAsCell,
        GateIsNoShare,
    ),
    "lstm-coupled": (GateIsAnotherShare,),
}
"""In the place of which cell, as whose kind the laws take it."""

LAWS: tuple[Callable[[str], None], ...] = (
    laws.test_scan_is_steps,
    laws.test_scan_is_scan_in_chunks,
    laws.test_past_its_length_a_row_stays,
    laws.test_state_is_batch_first,
    laws.test_first_state,
    laws.test_cell_state,
    laws.test_what_each_layer_outputs,
    laws.test_gradients_reach_every_parameter,
    laws.test_gates_are_shares_of_every_layer,
    laws.test_laws_hold_to_many_digits,
    lambda cell: laws.test_a_forget_gate_is_the_share_that_remains(cell) if cell in laws.FORGET_LEAVES else None,
)


def broken_laws(cell: str) -> list[int]:
    found = []
    for number, law in enumerate(LAWS):
        torch.manual_seed(0)
        try:
            law(cell)
        except (AssertionError, RuntimeError, UserError):
            found.append(number)
    return found


@pytest.mark.parametrize("cell", BROKEN)
def test_no_law_is_broken_by_a_whole_cell(cell: str) -> None:
    assert broken_laws(cell) == []


@pytest.mark.parametrize(
    ("cell", "broken"),
    [pytest.param(cell, each, id=each.__name__) for cell, some in BROKEN.items() for each in some],
)
def test_a_broken_cell_is_caught(cell: str, broken: type[Recurrence], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(every_cell.CELLS, cell, broken)
    assert broken_laws(cell) != []

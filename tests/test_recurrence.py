"""The laws of recurrences, over every cell."""

from itertools import product

import pytest
import torch
from every_cell import CELLS, FUSED, LONG_MEMORY, OWN, STACKS
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree, index_rows, leaves, map_tree
from vlrnn.nn.decoders.language_model import RecurrentLanguageModel
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.question_encoder import SequenceClassifier
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.rnn import GRU, LSTM
from vlrnn.nn.recurrent.wrappers import Bidirectional, ResidualStack

B, T, I, D = 5, 7, 3, 6  # noqa: E741

LENGTHS = torch.tensor([7, 2, 0, 4, 1])

every_cell = pytest.mark.parametrize("cell", list(CELLS))
every_single = pytest.mark.parametrize("cell", [*FUSED, *OWN])


def variants(cell: str) -> list[Recurrence]:
    """The cell with one layer and two, and with a learned first state where it can have one."""
    learned = (False, True) if cell in FUSED else (False,)
    return [make(cell, layers=layers, learn_initial_state=each) for layers in (1, 2) for each in learned]


def new(cell: str, layers: int = 1, learn_initial_state: bool = False, **more: object) -> Recurrence:
    if cell in FUSED:
        more["learn_initial_state"] = learn_initial_state
    return CELLS[cell](D, num_layers=layers + (cell in STACKS), **more)


def make(cell: str, **more: object) -> Recurrence:
    recurrence = new(cell, **more).build(I).eval()  # type: ignore[arg-type]
    with torch.no_grad():  # no parameter may hide by being zero
        for parameter in recurrence.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return recurrence


def close(left: Tree, right: Tree) -> None:
    assert len(leaves(left)) == len(leaves(right))
    for a, b in zip(leaves(left), leaves(right), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@every_cell
def test_scan_is_steps(cell: str) -> None:
    for recurrence in variants(cell):
        xs = torch.randn(B, T, I)
        ys, after = recurrence(xs, recurrence.initial_state(B))
        state = recurrence.initial_state(B)
        for time in range(T):
            y, state = recurrence.step(xs[:, time], state)
            torch.testing.assert_close(y, ys[:, time], rtol=1e-5, atol=1e-5)
        close(state, after)


@every_cell
def test_scan_is_scan_in_chunks(cell: str) -> None:
    for recurrence, cut in product(variants(cell), (1, 3, 6)):
        xs = torch.randn(B, T, I)
        for whole in (None, LENGTHS):
            first = None if whole is None else whole.clamp(max=cut)
            second = None if whole is None else whole - first  # rows of length 0 are among these
            ys, after = recurrence(xs, recurrence.initial_state(B), whole)
            early, middle = recurrence(xs[:, :cut], recurrence.initial_state(B), first)
            late, end = recurrence(xs[:, cut:], middle, second)
            torch.testing.assert_close(torch.cat([early, late], 1), ys, rtol=1e-5, atol=1e-5)
            close(end, after)


@every_cell
def test_past_its_length_a_row_stays(cell: str) -> None:
    for recurrence in (make(cell, layers=layers) for layers in (1, 2)):
        xs, lengths = torch.randn(B, T, I), LENGTHS
        start = map_tree(
            lambda leaf: torch.randn_like(leaf) if leaf.is_floating_point() else torch.randint_like(leaf, 4),
            recurrence.initial_state(B),
        )
        ys, after = recurrence(xs, start, lengths)
        assert ys.shape == (B, T, D)
        for row, length in enumerate(lengths.tolist()):
            one = torch.tensor([row])
            state = map_tree(lambda leaf, one=one: leaf[one], start)
            for time in range(length):
                y, state = recurrence.step(xs[one, time], state)
                torch.testing.assert_close(y[0], ys[row, time], rtol=1e-5, atol=1e-5)
            assert (ys[row, length:] == 0).all()
            close(state, map_tree(lambda leaf, one=one: leaf[one], after))


@given(lengths=st.lists(st.integers(0, T), min_size=1, max_size=6))
def test_any_lengths(lengths: list[int]) -> None:
    recurrence = make("lstm")
    xs = torch.randn(len(lengths), T, I)
    ys, _ = recurrence(xs, recurrence.initial_state(len(lengths)), torch.tensor(lengths))
    full, _ = recurrence(xs, recurrence.initial_state(len(lengths)))
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    torch.testing.assert_close(ys, full * mask[..., None], rtol=1e-5, atol=1e-5)


@every_cell
def test_what_lies_past_the_length_does_not_matter(cell: str) -> None:
    for recurrence in variants(cell):
        xs, lengths = torch.randn(B, T, I), LENGTHS
        other = torch.where((torch.arange(T) < lengths[:, None])[..., None], xs, torch.full_like(xs, 1e6))
        close(
            recurrence(xs, recurrence.initial_state(B), lengths),
            recurrence(other, recurrence.initial_state(B), lengths),
        )


@every_cell
def test_state_is_batch_first(cell: str) -> None:
    for recurrence in variants(cell):
        start = recurrence.initial_state(B)
        xs = torch.randn(B, T, I)
        order = torch.tensor([3, 0, 4, 4, 1])
        for state in (start, recurrence.step(xs[:, 0], start)[1], recurrence(xs, start)[1]):
            assert all(leaf.shape[0] == B for leaf in leaves(state))
            moved = index_rows(state, order)  # rows are independent, so they can be moved
            ys, _ = recurrence(xs[order], moved)
            torch.testing.assert_close(ys, recurrence(xs, state)[0][order], rtol=1e-5, atol=1e-5)


@every_cell
def test_first_state(cell: str) -> None:
    for layers in (1, 2):
        zero = new(cell, layers=layers).build(I)
        assert all((leaf == 0).all() for leaf in leaves(zero.initial_state(B)))
        if cell in FUSED:
            learned = make(cell, layers=layers, learn_initial_state=True)
            assert all((leaf != 0).any() for leaf in leaves(learned.initial_state(B)))


@every_cell
def test_cell_state(cell: str) -> None:
    for layers in (1, 2):
        recurrence = make(cell, layers=layers)
        y, state = recurrence.step(torch.randn(B, I), recurrence.initial_state(B))
        remembered = recurrence.cell_state(state)
        assert remembered.shape == (B, D)
        if cell in LONG_MEMORY:
            assert not torch.allclose(remembered, y)
            assert torch.equal(remembered, state[1][:, -1])
        elif cell not in STACKS:  # whose last layer remembers what it says itself
            torch.testing.assert_close(remembered, y)
        cells = recurrence.layer_cells(state)
        assert (cells is not None) == (cell in (*LONG_MEMORY, "residual-lstm"))
        if cells is not None:
            assert cells.shape == (B, layers + (cell in STACKS), D)
            assert torch.equal(cells[:, -1], remembered)


@every_cell
def test_what_each_layer_outputs(cell: str) -> None:
    for layers in (1, 2):
        recurrence = make(cell, layers=layers)
        xs, lengths = torch.randn(B, T, I), LENGTHS
        ys, after = recurrence(xs, recurrence.initial_state(B), lengths)
        outputs = recurrence.layer_outputs(after)
        assert outputs.shape == (B, layers + (cell in STACKS), D)
        for row, length in enumerate(lengths.tolist()):
            if length:
                torch.testing.assert_close(outputs[row, -1], ys[row, length - 1], rtol=1e-5, atol=1e-5)


def test_initialisation() -> None:
    for cell, layers in product(FUSED, (1, 2)):
        recurrence = CELLS[cell](D, num_layers=layers).build(I)
        for name, parameter in recurrence.kernel.named_parameters():
            if name.startswith("weight_hh"):
                for block in parameter.split(D):
                    torch.testing.assert_close(block @ block.T, torch.eye(D), rtol=1e-4, atol=1e-5)
        for layer in range(layers):
            bias = getattr(recurrence.kernel, f"bias_ih_l{layer}") + getattr(recurrence.kernel, f"bias_hh_l{layer}")
            forget = torch.zeros(len(bias))
            if cell == "lstm":
                forget[D : 2 * D] = 1.0  # torch keeps the gates in the order input, forget, cell, output
            assert torch.equal(bias, forget)


@every_single
def test_dropout_stands_between_layers_and_only_in_training(cell: str) -> None:
    xs = torch.randn(B, T, I)
    stack = make(cell, layers=2, dropout=0.5)
    first, second = (stack(xs, stack.initial_state(B))[0] for _ in range(2))
    assert torch.equal(first, second)
    stack.train()
    for run in (
        lambda r: r(xs, r.initial_state(B))[0],
        lambda r: r.step(xs[:, 0], r.initial_state(B))[0],
    ):
        assert not torch.equal(run(stack), run(stack))
    single = make(cell, layers=1, dropout=0.5).train()
    first, second = (single(xs, single.initial_state(B))[0] for _ in range(2))
    assert torch.equal(first, second)


@every_single
def test_dropout_keeps_the_first_layer_whole(cell: str) -> None:
    """What a layer says to the next may be dropped; what it remembers may not."""
    stack = make(cell, layers=2, dropout=0.5)
    x, start = torch.randn(B, I), stack.initial_state(B)
    sober = [leaf[:, 0] for leaf in leaves(stack.step(x, start)[1])]
    stack.train()
    for after in (stack.step(x, start)[1], stack(x[:, None], start)[1]):
        for undropped, expected in zip(leaves(after), sober, strict=True):
            torch.testing.assert_close(undropped[:, 0], expected, rtol=1e-5, atol=1e-5)


@every_cell
def test_gradients_reach_every_parameter(cell: str) -> None:
    for recurrence, lengths in product(variants(cell), (None, LENGTHS)):
        xs = torch.randn(B, T, I)
        ys, _ = recurrence(xs, recurrence.initial_state(B), lengths)
        ys.square().sum().backward()
        for name, parameter in recurrence.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
        recurrence.zero_grad()
        state = recurrence.initial_state(B)
        for time in range(3):  # what is kept of the first step shows at the third
            y, state = recurrence.step(xs[:, time], state)
        y.square().sum().backward()
        assert all(
            parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in recurrence.parameters()
        )


def test_a_built_recurrence_is_described_by_its_arguments() -> None:
    for cell, layers in product([*FUSED, *OWN], (1, 2)):
        described = {"hidden_size": D, "num_layers": layers, "dropout": 0.3}
        assert make(cell, layers=layers, dropout=0.3).arguments.items() >= described.items(), cell


@every_cell
def test_laws_hold_to_many_digits(cell: str) -> None:
    """Over a text that is longer than what any of them computes at once."""
    recurrence = make(cell, layers=2).double()
    xs = torch.randn(2, 83, I, dtype=torch.double)
    ys, after = recurrence(xs, recurrence.initial_state(2))
    state, outputs = recurrence.initial_state(2), []
    for start, end in ((0, 1), (1, 40), (40, 83)):
        more, state = recurrence(xs[:, start:end], state)
        outputs.append(more)
    step, stepped = recurrence.initial_state(2), []
    for x in xs.unbind(1):
        y, step = recurrence.step(x, step)
        stepped.append(y)
    for other, end in ((torch.cat(outputs, 1), state), (torch.stack(stepped, 1), step)):
        torch.testing.assert_close(other, ys, rtol=1e-9, atol=1e-9)
        for one, another in zip(leaves(end), leaves(after), strict=True):
            torch.testing.assert_close(one, another, rtol=1e-9, atol=1e-9)


@every_cell
def test_nothing_explodes_over_a_long_text(cell: str) -> None:
    recurrence = new(cell).build(I)
    xs = 10 * torch.randn(2, 600, I)
    xs.requires_grad_()
    ys, _ = recurrence(xs, recurrence.initial_state(2))
    ys[:, -1].sum().backward()
    assert ys.isfinite().all()
    assert xs.grad is not None
    assert xs.grad.isfinite().all()


# LSTM: how its forget gate begins.


def test_the_initial_forget_bias() -> None:
    torch.manual_seed(0)
    for bias in (1.0, 3.0):
        lstm = LSTM(50, num_layers=2, forget_bias=bias).build(I)
        for layer in range(2):
            assert (lstm.kernel.get_parameter(f"bias_ih_l{layer}")[50:100] == bias).all()
    taken, forget, *_ = LSTM(1000, chrono=100).build(I).kernel.get_parameter("bias_ih_l0").chunk(4)
    assert torch.equal(taken, -forget)
    assert forget.exp().min() >= 1
    assert 90 < forget.exp().max() <= 99 + 1e-3
    assert forget.exp().mean().item() == pytest.approx(50, abs=3)
    with pytest.raises(UserError, match="chrono is a time of 3 steps at least"):
        LSTM(5, chrono=2)


# Both ways.


def test_both_ways_is_each_way() -> None:
    both = Bidirectional(LSTM(D)).build(I).eval()
    xs, lengths = torch.randn(B, T, I), LENGTHS
    ys, after = both(xs, both.initial_state(B), lengths)
    assert ys.shape == (B, T, both.hidden_size) == (B, T, 2 * D)
    for row, length in enumerate(lengths.tolist()):
        words = xs[row : row + 1, :length]
        assert (ys[row, length:] == 0).all()
        if not length:
            continue
        forth, _ = both.forwards(words, both.forwards.initial_state(1))
        back, _ = both.backwards(words.flip(1), both.backwards.initial_state(1))
        torch.testing.assert_close(ys[row, :length], torch.cat([forth, back.flip(1)], -1)[0], rtol=1e-5, atol=1e-5)
        ends = torch.cat([forth[0, -1], back[0, -1]])
        torch.testing.assert_close(both.layer_outputs(after)[row, 0], ends, rtol=1e-5, atol=1e-5)
    everything, _ = both(xs, both.initial_state(B))
    torch.testing.assert_close(everything[0], ys[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", [Bidirectional(GRU(D)), ResidualStack(Bidirectional(GRU(3)))])
def test_bidirectional_recurrences_cannot_generate(cell: Recurrence) -> None:
    for speaker in (
        lambda: ShowAndTell(cell),
        lambda: RecurrentLanguageModel(cell),
        lambda: SequenceClassifier(cell, 3),
        lambda: cell.build(I).step(torch.randn(B, I), cell.initial_state(B)),
    ):
        with pytest.raises(UserError, match="is not causal"):
            speaker()
    with pytest.raises(UserError, match="bidirectional already"):
        Bidirectional(cell)


# Gates.

FORGET_LEAVES = {
    "lstm": 1,
    "lstm-layer-norm": 1,
    "lstm-coupled": 1,
    "min-gru": 0,
    "min-lstm": 0,
    "rg-lru": 0,
    "mamba": 2,
}
"""Which leaf of the state a forget gate is of, where what is kept of it hangs on nothing else in that leaf."""


@every_cell
def test_gates_are_shares_of_every_layer(cell: str) -> None:
    for layers in (1, 2):
        recurrence = make(cell, layers=layers)
        state = map_tree(torch.clone, recurrence(torch.randn(B, T, I), recurrence.initial_state(B))[1])
        gates = recurrence.gates(torch.randn(B, I), state)
        assert ("forget" in gates) == (cell not in ("rnn-tanh", "rnn-relu", "self-attention"))
        for gate in gates.values():
            assert gate.shape[:2] == (B, layers + (cell in STACKS))
            assert ((gate >= 0) & (gate <= 1)).all()


@pytest.mark.parametrize("cell", FORGET_LEAVES)
def test_a_forget_gate_is_the_share_that_remains(cell: str) -> None:
    """Of two memories that differ, what they differ by is that share of it a step later."""
    recurrence = make(cell).double()
    x, place = torch.randn(B, I).double(), FORGET_LEAVES[cell]
    state = recurrence(torch.randn(B, T, I).double(), recurrence.initial_state(B))[1]
    one = list(leaves(state))
    more = torch.randn_like(one[place])
    other = [leaf + more if number == place else leaf for number, leaf in enumerate(one)]
    after = [leaves(recurrence.step(x, tuple(each) if len(one) > 1 else each[0])[1])[place] for each in (one, other)]
    forget = recurrence.gates(x, state)["forget"].view_as(more)
    torch.testing.assert_close(after[1] - after[0], forget * more)


def test_gates_are_those_of_the_equations() -> None:
    gru = make("gru").double()
    x, h = torch.randn(B, I).double(), torch.randn(B, 1, D).double()
    gates = gru.gates(x, h)
    weights = dict(gru.kernel.named_parameters())  # type: ignore[operator,union-attr]
    new = x @ weights["weight_ih_l0"][2 * D :].T + weights["bias_ih_l0"][2 * D :]
    recurrent = h[:, 0] @ weights["weight_hh_l0"][2 * D :].T + weights["bias_hh_l0"][2 * D :]
    new = torch.tanh(new + gates["reset"][:, 0] * recurrent)
    forget = gates["forget"][:, 0]
    torch.testing.assert_close(gru.step(x, h)[0], forget * h[:, 0] + (1 - forget) * new)
    lstm = make("lstm").double()
    state = h, torch.randn(B, 1, D).double()
    gates = lstm.gates(x, state)
    output, (_, cell) = lstm.step(x, state)
    torch.testing.assert_close(output, gates["output"][:, 0] * torch.tanh(cell[:, 0]))
    assert ((cell - gates["forget"] * state[1]).abs() <= gates["input"] + 1e-12).all()

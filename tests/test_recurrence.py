"""The laws of recurrences, over every cell."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.nn.recurrence import GRU, LSTM, RNN, Recurrence
from vlrnn.nn.tree import Tree, leaves, map_tree

B, T, I, D = 5, 7, 3, 6  # noqa: E741

CELLS = {
    "rnn-tanh": lambda **more: RNN(width=D, nonlinearity="tanh", **more),
    "rnn-relu": lambda **more: RNN(width=D, nonlinearity="relu", **more),
    "gru": lambda **more: GRU(width=D, **more),
    "lstm": lambda **more: LSTM(width=D, **more),
}
every_cell = pytest.mark.parametrize("cell", list(CELLS))
every_stack = pytest.mark.parametrize("layers", [1, 2])
every_start = pytest.mark.parametrize("learned_state", [False, True])


def make(cell: str, **more: object) -> Recurrence:
    recurrence = CELLS[cell](**more).build(I).eval()
    with torch.no_grad():  # no parameter may hide by being zero
        for parameter in recurrence.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return recurrence


def close(left: Tree, right: Tree) -> None:
    assert len(leaves(left)) == len(leaves(right))
    for a, b in zip(leaves(left), leaves(right), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@every_cell
@every_stack
@every_start
def test_scan_is_steps(cell: str, layers: int, learned_state: bool) -> None:
    recurrence = make(cell, layers=layers, learned_state=learned_state)
    xs = torch.randn(B, T, I)
    ys, after = recurrence.scan(xs, recurrence.initial_state(B))
    state = recurrence.initial_state(B)
    for time in range(T):
        y, state = recurrence.step(xs[:, time], state)
        torch.testing.assert_close(y, ys[:, time], rtol=1e-5, atol=1e-5)
    close(state, after)


@every_cell
@every_stack
@every_start
@pytest.mark.parametrize("cut", [1, 3, 6])
def test_scan_is_scan_in_chunks(cell: str, layers: int, learned_state: bool, cut: int) -> None:
    recurrence = make(cell, layers=layers, learned_state=learned_state)
    xs, lengths = torch.randn(B, T, I), torch.tensor([7, 2, 0, 4, 1])
    for whole in (None, lengths):
        first = None if whole is None else whole.clamp(max=cut)
        second = None if whole is None else whole - first  # rows of length 0 are among these
        ys, after = recurrence.scan(xs, recurrence.initial_state(B), whole)
        early, middle = recurrence.scan(xs[:, :cut], recurrence.initial_state(B), first)
        late, end = recurrence.scan(xs[:, cut:], middle, second)
        torch.testing.assert_close(torch.cat([early, late], 1), ys, rtol=1e-5, atol=1e-5)
        close(end, after)


@every_cell
@every_stack
def test_past_its_length_a_row_stays(cell: str, layers: int) -> None:
    recurrence = make(cell, layers=layers, learned_state=True)
    xs, lengths = torch.randn(B, T, I), torch.tensor([7, 2, 0, 4, 1])
    start = map_tree(torch.randn_like, recurrence.initial_state(B))
    ys, after = recurrence.scan(xs, start, lengths)
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
    ys, _ = recurrence.scan(xs, recurrence.initial_state(len(lengths)), torch.tensor(lengths))
    full, _ = recurrence.scan(xs, recurrence.initial_state(len(lengths)))
    there = torch.arange(T) < torch.tensor(lengths)[:, None]
    torch.testing.assert_close(ys, full * there[..., None], rtol=1e-5, atol=1e-5)


@every_cell
@every_stack
@every_start
def test_what_lies_past_the_length_does_not_matter(cell: str, layers: int, learned_state: bool) -> None:
    recurrence = make(cell, layers=layers, learned_state=learned_state)
    xs, lengths = torch.randn(B, T, I), torch.tensor([7, 2, 0, 4, 1])
    other = torch.where((torch.arange(T) < lengths[:, None])[..., None], xs, torch.full_like(xs, 1e6))
    close(
        recurrence.scan(xs, recurrence.initial_state(B), lengths),
        recurrence.scan(other, recurrence.initial_state(B), lengths),
    )


@every_cell
@every_stack
@every_start
def test_state_is_batch_first(cell: str, layers: int, learned_state: bool) -> None:
    recurrence = make(cell, layers=layers, learned_state=learned_state)
    start = recurrence.initial_state(B)
    xs = torch.randn(B, T, I)
    order = torch.tensor([3, 0, 4, 4, 1])
    for state in (start, recurrence.step(xs[:, 0], start)[1], recurrence.scan(xs, start)[1]):
        assert all(leaf.shape[0] == B for leaf in leaves(state))
        moved = map_tree(lambda leaf: leaf[order], state)  # rows are independent, so they can be moved
        ys, _ = recurrence.scan(xs[order], moved)
        torch.testing.assert_close(ys, recurrence.scan(xs, state)[0][order], rtol=1e-5, atol=1e-5)


@every_cell
@every_stack
def test_first_state(cell: str, layers: int) -> None:
    zero = CELLS[cell](layers=layers).build(I)
    assert all((leaf == 0).all() for leaf in leaves(zero.initial_state(B)))
    learned = make(cell, layers=layers, learned_state=True)
    assert all((leaf != 0).any() for leaf in leaves(learned.initial_state(B)))


@every_cell
@every_stack
def test_cell_state(cell: str, layers: int) -> None:
    recurrence = make(cell, layers=layers)
    y, state = recurrence.step(torch.randn(B, I), recurrence.initial_state(B))
    remembered = recurrence.cell_state(state)
    assert remembered.shape == (B, D)
    if cell == "lstm":
        assert not torch.allclose(remembered, y)
        assert torch.equal(remembered, state[1][:, -1])
    else:
        torch.testing.assert_close(remembered, y)


@every_cell
@every_stack
def test_initialisation(cell: str, layers: int) -> None:
    recurrence = CELLS[cell](layers=layers).build(I)
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


@every_cell
def test_dropout_stands_between_layers_and_only_in_training(cell: str) -> None:
    xs = torch.randn(B, T, I)
    stack = make(cell, layers=2, dropout=0.5)
    first, second = (stack.scan(xs, stack.initial_state(B))[0] for _ in range(2))
    assert torch.equal(first, second)
    stack.train()
    for run in (
        lambda r: r.scan(xs, r.initial_state(B))[0],
        lambda r: r.step(xs[:, 0], r.initial_state(B))[0],
    ):
        assert not torch.equal(run(stack), run(stack))
    single = make(cell, layers=1, dropout=0.5).train()
    first, second = (single.scan(xs, single.initial_state(B))[0] for _ in range(2))
    assert torch.equal(first, second)


@every_cell
def test_dropout_keeps_the_first_layer_whole(cell: str) -> None:
    """What a layer says to the next may be dropped; what it remembers may not."""
    stack = make(cell, layers=2, dropout=0.5)
    x, start = torch.randn(B, I), stack.initial_state(B)
    sober = [leaf[:, 0] for leaf in leaves(stack.step(x, start)[1])]
    stack.train()
    for after in (stack.step(x, start)[1], stack.scan(x[:, None], start)[1]):
        for kept, expected in zip(leaves(after), sober, strict=True):
            torch.testing.assert_close(kept[:, 0], expected, rtol=1e-5, atol=1e-5)


@every_cell
@every_stack
@every_start
@pytest.mark.parametrize("lengths", [None, [7, 2, 0, 4, 1]])
def test_gradients_reach_every_parameter(
    cell: str, layers: int, learned_state: bool, lengths: list[int] | None
) -> None:
    recurrence = make(cell, layers=layers, learned_state=learned_state)
    xs = torch.randn(B, T, I)
    ys, _ = recurrence.scan(xs, recurrence.initial_state(B), None if lengths is None else torch.tensor(lengths))
    ys.square().sum().backward()
    for name, parameter in recurrence.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    recurrence.zero_grad()
    state = recurrence.initial_state(B)
    for time in range(2):
        y, state = recurrence.step(xs[:, time], state)
    y.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in recurrence.parameters())


@every_cell
@every_stack
def test_a_built_recurrence_is_described_by_its_arguments(cell: str, layers: int) -> None:
    recurrence = make(cell, layers=layers, dropout=0.3)
    assert recurrence.arguments["width"] == D
    assert recurrence.arguments["layers"] == layers
    assert recurrence.arguments["dropout"] == 0.3

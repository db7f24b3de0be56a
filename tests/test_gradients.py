"""How far gradients flow: against loops that ask for one derivative after the other, and what theory says of 100
steps."""

import json
import math
from functools import cache
from pathlib import Path

import pytest
import torch
from every_cell import CELLS
from torch import Tensor

from vlrnn.cli import main
from vlrnn.errors import UserError
from vlrnn.nn.batching import leaves, map_tree
from vlrnn.nn.recurrent.rnn import LSTM, RNN
from vlrnn.probes.finding import Finding
from vlrnn.studies.cells.gradient_flow import flow, jacobian, largest_singular_value
from vlrnn.studies.cells.gradients import GradientsPlan, gradients, recurrent_matrices, set_radius

B, T, I, D = 3, 6, 4, 6  # noqa: E741


def loss(output: Tensor) -> Tensor:
    return output.square().sum()


@pytest.mark.parametrize("cell", CELLS)
def test_the_flow_is_what_each_state_does_to_the_loss(cell: str) -> None:
    """The norm k steps back is that of the derivative by numbers added to that state, one state after the other."""
    torch.manual_seed(0)
    recurrence = CELLS[cell](D).build(I).double().eval()
    inputs = torch.randn(T, B, I).double().unbind()
    start = map_tree(Tensor.detach, recurrence.initial_state(B))
    parameters = list(recurrence.parameters())
    found = flow(recurrence.step, inputs, start, loss, parameters=parameters)
    assert found.norms.shape == (1 + T,)
    for back in range(1, T + 1):
        state = start
        for x in inputs[: T - back]:
            _, state = recurrence.step(x, state)
        state = map_tree(lambda leaf: leaf.detach().requires_grad_(leaf.is_floating_point()), state)
        begun = state
        for x in inputs[T - back :]:
            output, state = recurrence.step(x, state)
        differentiated = [leaf for leaf in leaves(begun) if leaf.requires_grad]
        slopes = torch.autograd.grad(loss(output), differentiated, allow_unused=True)
        norm = math.sqrt(sum(float(slope.square().sum()) for slope in slopes if slope is not None))
        assert found.norms[back].item() == pytest.approx(norm, rel=1e-9)
    assert found.norms[0].item() == pytest.approx(2 * output.norm().item(), rel=1e-9)
    ys, _ = recurrence(torch.stack(inputs, 1), start)
    whole = torch.autograd.grad(loss(ys[:, -1]), parameters, allow_unused=True)
    norm = math.sqrt(sum(float(slope.square().sum()) for slope in whole if slope is not None))
    assert found.parameters == pytest.approx(norm, rel=1e-6)


@pytest.mark.parametrize("cell", ["rnn-tanh", "gru", "lstm", "lru", "mamba", "highway-gru"])
def test_the_jacobian_is_autograds(cell: str) -> None:
    torch.manual_seed(0)
    recurrence = CELLS[cell](D).build(I).double().eval()
    x = torch.randn(1, I).double()
    _, state = recurrence(torch.randn(1, T, I).double(), recurrence.initial_state(1))
    parts = [leaf.detach() for leaf in leaves(state)]
    sizes = [part.numel() for part in parts]

    def step(flat: Tensor) -> Tensor:
        given = iter(piece.view_as(part) for piece, part in zip(flat.split(sizes), parts, strict=True))
        _, after = recurrence.step(x, map_tree(lambda _: next(given), state))
        return torch.cat([leaf.flatten() for leaf in leaves(after)])

    expected = torch.autograd.functional.jacobian(step, torch.cat([part.flatten() for part in parts]))
    found = jacobian(recurrence.step, x, map_tree(Tensor.detach, state))
    torch.testing.assert_close(found, expected)
    assert largest_singular_value(found) == pytest.approx(torch.linalg.svdvals(expected)[0].item())


def test_layers_are_distinguished() -> None:
    """The gradient at a layer's part of the state; those of all layers together are the whole."""
    torch.manual_seed(0)
    lstm = LSTM(D, num_layers=2).build(I).double()
    found = flow(lstm.step, torch.randn(T, B, I).double().unbind(), lstm.initial_state(B), loss, layers=2)
    assert found.layers is not None
    torch.testing.assert_close(found.layers.square().sum(1).sqrt(), found.norms)
    assert (found.layers[1:] > 0).all()


def test_a_radius_is_set() -> None:
    rnn = RNN(20, num_layers=2).build(5)
    set_radius(rnn, 0.7)
    matrices = recurrent_matrices(rnn)
    assert len(matrices) == 2
    for matrix in matrices:
        assert torch.linalg.eigvals(matrix).abs().max().item() == pytest.approx(0.7, abs=1e-5)
    assert not recurrent_matrices(LSTM(20).build(5))


@cache
def of_a_hundred_steps() -> Finding:
    cells = ("rnn", "lstm", "lstm:forget_bias=3", "lstm:forget_bias=4", "lstm:chrono=100")
    return gradients(GradientsPlan(cells, radii=(0.9, 1.5), layers=(1,), draws=3), resamples=50)


def after(row: str, finding: Finding | None = None) -> float:
    found: float = (finding or of_a_hundred_steps()).scores[f"{row}, 1 layer"]["after_100"]["value"]
    return found


def test_gradients_do_what_theory_predicts() -> None:
    """Over 100 steps, of inputs as small as embeddings are at the start: larger ones shut gates and flatten tanh."""
    assert after("rnn, radius 0.9") < 1e-3
    assert after("rnn, radius 0.9") <= 0.9**100 * 1.01  # tanh only makes it less
    assert after("rnn, radius 1.5") > 1e2
    for remembering in ("lstm:forget_bias=3", "lstm:forget_bias=4", "lstm:chrono=100"):
        assert after(remembering) > 1e-3
    assert after("lstm:chrono=100") > 1e-2


def test_a_forget_bias_of_one_against_what_its_gate_alone_would_carry() -> None:
    """The gate alone keeps sigmoid(1)^100 of it, 2.5e-14; what comes back is more, through the recurrent matrices,
    which are orthogonal at the start."""
    theory = of_a_hundred_steps().baselines["theory"]["lstm, 1 layer"]["after_100"]["value"]
    assert theory == pytest.approx((1 / (1 + math.exp(-1))) ** 100, rel=1e-6)
    assert 1e-3 < after("lstm") < 1e-1
    curves = of_a_hundred_steps().details["curves"]["lstm, 1 layer"]
    assert len(curves["shares"]) == len(curves["theory"]) == 101
    assert curves["shares"][0] == 1


def test_what_clipping_does() -> None:
    """A step along a gradient that has exploded makes the loss worse than a clipped one does."""
    found = of_a_hundred_steps().scores["rnn, radius 1.5, 1 layer"]
    assert found["parameters"]["value"] > 1e3
    assert found["stepped"]["value"] > found["clipped"]["value"]
    small = of_a_hundred_steps().scores["lstm:chrono=100, 1 layer"]
    assert small["parameters"]["value"] < 1
    assert small["stepped"] == small["clipped"]  # there was nothing to clip


def test_the_command_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--layers", "1", "2", "--steps", "12", "--width", "6", "--draws", "2", "--radii", "0.5", "1.2"]
    files = ["--out", str(tmp_path / "g.json"), "--picture", str(tmp_path / "g.svg")]
    assert main(["probe", "gradients", "--cells", "rnn,mamba", *sizes, *files]) == 0
    found = json.loads((tmp_path / "g.json").read_text())
    names = [f"rnn, radius {radius}, {layers}" for radius in ("0.5", "1.2") for layers in ("1 layer", "2 layers")]
    names += ["mamba, 1 layer", "mamba, 2 layers"]
    assert list(found["scores"]) == names
    assert "after_12" in found["scores"][names[0]]
    assert (tmp_path / "g.svg").read_text().startswith("<?xml")
    assert "radius 0.5" in capsys.readouterr().out


MISTAKES = [
    (["--cells", "nonsense"], "nonsense: no recurrence"),
    (["--cells", ""], "need at least one each"),
    (["--steps", "1"], "--steps must be at least 2"),
    (["--width", "0"], "--width must be at least 1"),
    (["--radii", "-1"], "must be above 0"),
    (["--cells", "residual-stack:recurrence=gru"], "a stack has at least two layers, not 1"),
    (["--cells", "bidirectional:recurrence=gru"], "in question encoders only"),
    (["--picture", "x.txt"], "x.txt: pictures are written as one of .png, .svg, .pdf"),
]


def test_mistakes_are_reported(subtests: pytest.Subtests, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, complaint in MISTAKES:
        with subtests.test(arguments=arguments, complaint=complaint):
            assert main(["probe", "gradients", "--steps", "4", "--width", "4", "--draws", "1", *arguments]) == 2
            assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_plans_that_cannot_be() -> None:
    with pytest.raises(UserError, match="--draws must be at least 1"):
        GradientsPlan(("gru",), draws=0)

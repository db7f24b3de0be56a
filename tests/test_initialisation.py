"""How signals and gradients come through layers and steps: against the formulas written out, vlrnn's own recurrence,
and theory; and what small networks learn, with normalisation and without."""

import json
import math
from functools import cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.cli import main
from vlrnn.errors import UserError
from vlrnn.nn.recurrent.rnn import RNN
from vlrnn.probes.finding import Finding
from vlrnn.report.charts import probe_picture
from vlrnn.report.content import ProbeSection
from vlrnn.studies.cells.initialisation import (
    INITIALISATIONS,
    NONLINEARITIES,
    WAYS,
    InitialisationPlan,
    chain_scales,
    draw_chain,
    in_theory,
    initialisation,
)
from vlrnn.studies.cells.small_tasks import HIDDEN, INPUTS, TASKS, WHERE, SmallTaskResult, distinct_units, learn

B, D, K = 4, 6, 5


def drawn(name: str, way: str, **sizes: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """The weights of a chain, what goes in, and the gradient that comes in from behind."""
    plan = InitialisationPlan(**{"depth": K, "width": D, **sizes}, std=0.3)  # type: ignore[arg-type]
    torch.manual_seed(0)
    sent, back = torch.randn(2, B, plan.width, dtype=torch.float64)
    return draw_chain(name, way, plan), sent, back


def test_the_scales_are_those_of_the_formulas(subtests: pytest.Subtests) -> None:
    """Row by row, each layer's derivative written out, with that of a normalisation."""
    for nonlinearity, normalised, way in product(NONLINEARITIES, [False, True], WAYS):
        with subtests.test(nonlinearity=nonlinearity, normalised=normalised, way=way):
            weights, sent, back = drawn("gaussian", way)
            function, slope = NONLINEARITIES[nonlinearity]
            found = chain_scales(weights, function, normalised, sent, back)
            signal, gradient = torch.zeros(K + 1).double(), torch.zeros(K + 1).double()
            for row, gone_back in zip(sent, back, strict=True):
                states, jacobians = [row], []
                for weight in weights:
                    sums = weight @ states[-1]
                    normal = torch.eye(D).double()
                    if normalised:
                        deviation = sums.std(correction=0)
                        sums = (sums - sums.mean()) / deviation
                        normal = (normal - 1 / D - sums.outer(sums) / D) / deviation
                    states.append(function(sums))
                    jacobians.append(slope(sums).diag() @ normal @ weight)
                signal += torch.stack([state.square().sum() for state in states])
                printed = [gone_back]
                for jacobian in reversed(jacobians):
                    printed.append(printed[-1] @ jacobian)
                gradient += torch.stack([each.square().sum() for each in printed])
            np.testing.assert_allclose(found.signal, (signal / signal[0]).sqrt(), rtol=1e-9)
            np.testing.assert_allclose(found.gradient, (gradient / gradient[0]).sqrt(), rtol=1e-9)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("way", WAYS)
def test_a_chain_is_our_recurrence(nonlinearity: str, way: str) -> None:
    """By depth its layers at one step, from no state; by time its steps, from a state that hears nothing more."""
    weights, sent, back = drawn("xavier", way)
    found = chain_scales(weights, NONLINEARITIES[nonlinearity].of, False, sent, back)
    rnn = RNN(D, num_layers=K if way == "depth" else 1, nonlinearity=nonlinearity).build(D).double()  # type: ignore[arg-type]
    with torch.no_grad():
        if way == "depth":
            for layer, weight in enumerate(weights):
                rnn.kernel.get_parameter(f"weight_ih_l{layer}").copy_(weight)
            _, state = rnn.step(sent, rnn.initial_state(B))
            states = rnn.layer_outputs(state).transpose(0, 1)
        else:
            rnn.kernel.get_parameter("weight_hh_l0").copy_(weights[0])
            outputs, _ = rnn(torch.zeros(B, K, D).double(), sent[:, None])
            states = outputs.transpose(0, 1)
    np.testing.assert_allclose(found.signal[1:], states.norm(dim=(1, 2)) / sent.norm(), rtol=1e-9)


# What theory says.


def test_the_theory_that_is_given_in_closed_form() -> None:
    ones = np.ones(K + 1)
    steps = np.arange(K + 1)
    for each in (*in_theory(2.0, "relu", False, K), *in_theory(1.0, "linear", False, K)):
        np.testing.assert_allclose(each, ones, rtol=1e-12)  # Kaiming, orthogonal
    for each in in_theory(128 * 0.01**2, "relu", False, K):
        np.testing.assert_allclose(each, (0.01 * math.sqrt(128 / 2)) ** steps, rtol=1e-12)
    for each in in_theory(0.0, "tanh", True, K):
        np.testing.assert_allclose(each, [1, *[0] * K])
    tanh = in_theory(1.0, "tanh", False, K)
    assert (np.diff(tanh.signal) < 0).all()
    z = torch.randn(2_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert tanh.signal[1] == pytest.approx(z.tanh().square().mean().sqrt().item(), rel=2e-3)
    assert in_theory(1.0, "tanh", False, 1).gradient[1] == pytest.approx(
        (1 - z.tanh().square()).square().mean().sqrt().item(), rel=2e-3
    )


def test_an_orthogonal_matrix_keeps_all_of_it() -> None:
    for way in WAYS:
        weights, sent, back = drawn("orthogonal", way)
        for each in chain_scales(weights, NONLINEARITIES["linear"].of, False, sent, back):
            np.testing.assert_allclose(each, np.ones(K + 1), rtol=1e-12)


@cache
def measured() -> Finding:
    plan = InitialisationPlan(nonlinearities=("tanh", "relu"), depth=8, width=200, draws=4, learning_steps=1)
    return initialisation(plan, resamples=100)


def test_wide_layers_do_what_theory_predicts(subtests: pytest.Subtests) -> None:
    for name, normalised in product([each for each in INITIALISATIONS if each != "constant"], ["", ", normalised"]):
        with subtests.test(name=name, normalised=normalised):
            for group, theory in measured().baselines["theory"].items():
                found = measured().scores[group][name + normalised]["value"]
                assert found == pytest.approx(
                    theory[name + normalised]["value"], rel=0.4 if "time" in group else 0.2
                ), group


def test_what_each_initialisation_does() -> None:
    scores = measured().scores
    for way in WAYS:
        for what in ("signal", "gradient"):
            relu, tanh = scores[f"{what} by {way}, relu"], scores[f"{what} by {way}, tanh"]
            assert relu["zero"]["value"] == tanh["zero, normalised"]["value"] == 0
            assert relu["gaussian"]["value"] < 1e-7
            assert relu["xavier"]["value"] < 0.2 < relu["kaiming"]["value"]
        # Where sums are normalised, it does not matter how large weights are.
        normalised = scores[f"signal by {way}, tanh"]
        assert normalised["gaussian, normalised"] == pytest.approx(normalised["kaiming, normalised"])
    assert "constant" not in measured().baselines["theory"]["signal by depth, relu"]


def test_what_exploded_is_reported() -> None:
    plan = InitialisationPlan(("gaussian",), ("linear",), depth=150, width=8, std=1e3, draws=1, learning_steps=1)
    found = initialisation(plan, resamples=10)
    assert list(found.scores["signal by depth, linear"]) == ["gaussian, normalised"]
    assert "exceeds the range of numbers" in found.not_computed["gradient by time, linear: gaussian"]


# What is learnt.


@pytest.mark.parametrize("task", TASKS)
def test_the_targets_are_what_the_inputs_show(task: str) -> None:
    inputs, targets = TASKS[task](50, torch.Generator().manual_seed(0))
    half_means = inputs.unflatten(1, (2, -1)).mean(-1)
    shown = {
        "brightness": inputs.mean(1),
        "ones": inputs.mean(1),
        "objects": inputs.amax(1),
        "contrast": (half_means[:, 0] - half_means[:, 1]).abs(),
    }[task]
    torch.testing.assert_close(targets.double(), shown, rtol=0, atol=1e-9 if task in ("ones", "objects") else 0.1)
    assert targets.min() >= 0
    assert targets.max() <= 1
    assert targets.std() > 0.1


def test_what_normalisation_takes_away() -> None:
    """A brighter copy of an input is the same behind it, and so is one with more objects; of ones the count is still
    there, in how high they stand."""
    inputs, _ = TASKS["brightness"](1, torch.Generator().manual_seed(0))
    norm = partial(F.layer_norm, normalized_shape=(INPUTS,))
    torch.testing.assert_close(norm(inputs), norm(inputs + 0.3))
    objects, shares = TASKS["objects"](200, torch.Generator().manual_seed(0))
    single = objects[(objects[:, 0] > 0)]
    assert len(shares[objects[:, 0] > 0].unique()) > 1
    torch.testing.assert_close(norm(single, eps=1e-12), norm(single[:1], eps=1e-12).expand(len(single), -1))
    ones, shares = TASKS["ones"](50, torch.Generator().manual_seed(0))
    torch.testing.assert_close(norm(ones, eps=1e-12).amax(1), ((1 - shares) / shares).sqrt().double())


@cache
def trained(task: str, normalised: str, name: str = "xavier", steps: int = 300) -> SmallTaskResult:
    return learn(task, normalised, lambda weight: INITIALISATIONS[name](weight, 0.01), 2, steps)


@pytest.mark.parametrize("task", ["brightness", "objects"])
def test_what_is_normalised_away_cannot_be_learned(task: str) -> None:
    assert (trained(task, "nothing").error < 0.5 * trained(task, "nothing").chance).all()
    assert (trained(task, "input").error > 0.95 * trained(task, "input").chance).all()
    assert (trained(task, "hidden layer").error < 0.95 * trained(task, "hidden layer").chance).all()


def test_a_count_of_ones_can_be_learned_all_the_same() -> None:
    assert (trained("ones", "input", steps=500).error < 0.7 * trained("ones", "input", steps=500).chance).all()


@pytest.mark.parametrize("name", ["zero", "constant"])
def test_units_that_begin_equal_stay_equal(name: str) -> None:
    equal, different = trained("contrast", "nothing", name), trained("contrast", "nothing", "gaussian", 500)
    assert (equal.distinct == 1).all()
    assert (equal.distinct_after == 1).all()
    assert (equal.error > 0.95 * equal.chance).all()
    assert (different.distinct_after == HIDDEN).all()
    assert (different.error < 0.6 * different.chance).all()


@pytest.mark.parametrize("normalised", WHERE)
def test_networks_side_by_side_learn_as_one_by_itself(normalised: str) -> None:
    steps = 5
    found = learn("brightness", normalised, nn.init.xavier_uniform_, 1, steps)
    torch.manual_seed(0)
    drawing = torch.Generator().manual_seed(0)
    inner, outer = nn.Linear(INPUTS, HIDDEN).double(), nn.Linear(HIDDEN, 1).double()
    torch.manual_seed(0)
    for layer in (inner, outer):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)

    def output(inputs: Tensor) -> Tensor:
        inputs = F.layer_norm(inputs, (INPUTS,), eps=1e-12) if normalised == "input" else inputs
        sums = inner(inputs)
        sums = F.layer_norm(sums, (HIDDEN,), eps=1e-12) if normalised == "hidden layer" else sums
        return outer(sums.tanh())[:, 0]

    tested = TASKS["brightness"](1000, drawing)
    optimizer = torch.optim.Adam([*inner.parameters(), *outer.parameters()])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / steps)
        inputs, targets = TASKS["brightness"](64, drawing)
        optimizer.zero_grad()
        F.mse_loss(output(inputs), targets).backward()
        optimizer.step()
    error = F.mse_loss(output(tested.inputs), tested.targets).sqrt().item()
    assert found.error[0] == pytest.approx(error, rel=1e-9)
    assert found.chance[0] == pytest.approx(tested.targets.numpy().std())


def test_units_are_distinguished() -> None:
    outputs = torch.tensor([[1.0, 2.0, 1.0, 0.0], [3.0, 2.0, 3.0, 0.0]])
    assert distinct_units(outputs) == 3
    assert distinct_units(outputs * 1e-30) == 3
    assert distinct_units(outputs.new_zeros(2, 4)) == 1
    with pytest.raises(UserError, match="it is one of nothing, input, hidden layer"):
        learn("ones", "everything", nn.init.zeros_, 1, 1)


# The command.

SMALL = ["--depth", "3", "--width", "4", "--draws", "2", "--learning_steps", "2", "--resamples", "10"]


@pytest.mark.slow
def test_the_command_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--initialisations", "zero", "kaiming", "--nonlinearities", "linear", "relu"]
    files = ["--out", str(tmp_path / "i.json"), "--picture", str(tmp_path / "i.svg")]
    assert main(["probe", "init", *SMALL, *named, *files]) == 0
    found = json.loads((tmp_path / "i.json").read_text())
    groups = [f"{what} by {way}, {f}" for way in WAYS for f in ("linear", "relu") for what in ("signal", "gradient")]
    groups += [f"learning {task}" for task in TASKS] + ["distinct units", "distinct units, learnt"]
    assert list(found["scores"]) == groups
    assert list(found["scores"][groups[0]]) == ["zero", "zero, normalised", "kaiming", "kaiming, normalised"]
    assert found["baselines"]["theory"]["signal by depth, relu"]["kaiming"]["value"] == pytest.approx(1)
    assert set(found["baselines"]["chance"]) == {f"learning {task}" for task in TASKS}
    assert len(found["details"]["scales"]["gradient by time, relu"]["kaiming"]["measured"]) == 4
    assert (tmp_path / "i.svg").read_text().startswith("<?xml")
    assert "learning contrast" in probe_picture(ProbeSection("init", "run", [], [], [], found["details"], [], {}))
    assert "learning brightness" in capsys.readouterr().out


MISTAKES = [
    (["--initialisations", "magic"], "--initialisations: there is no magic; there are zero, constant, gaussian"),
    (["--nonlinearities", "step"], "--nonlinearities: there is no step; there are linear, tanh, relu"),
    (["--depth", "0"], "--depth must be at least 1, not 0"),
    (["--width", "1"], "--width must be at least 2, not 1"),
    (["--draws", "0"], "--draws must be at least 1, not 0"),
    (["--learning_steps", "0"], "--learning_steps must be at least 1, not 0"),
    (["--std", "0"], "--std must be above 0, not 0.0"),
    (["--picture", "x.txt"], "x.txt: pictures are written as one of .png, .svg, .pdf"),
]


def test_mistakes_are_reported(subtests: pytest.Subtests, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, complaint in MISTAKES:
        with subtests.test(arguments=arguments, complaint=complaint):
            assert main(["probe", "init", *SMALL, *arguments]) == 2
            assert complaint in capsys.readouterr().err.splitlines()[-1]

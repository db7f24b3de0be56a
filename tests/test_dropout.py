"""Dropout: over all masks there are, what is expected in training is what evaluation says; and so it is in every module
of vlrnn that drops anything, as far as what follows is linear."""

import json
import math
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import every_cell
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.cli import main
from vlrnn.nn.attention import DotAttention, RegionProjection
from vlrnn.nn.decoders.language_model import RecurrentLanguageModel
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.fusion import MLB, Concatenation, Fusion, Mutan, ProductFusion, SumFusion
from vlrnn.nn.question_encoder import MeanOverTime, RecurrentQuestionEncoder, SequenceClassifier
from vlrnn.nn.recurrent.base import LayeredRecurrence, Recurrence
from vlrnn.nn.recurrent.rnn import GRU
from vlrnn.nn.recurrent.wrappers import ResidualStack
from vlrnn.report.charts import probe_picture
from vlrnn.report.content import ProbeSection
from vlrnn.studies.cells.dropout import (
    CONVENTIONS,
    NONLINEARITIES,
    DropoutPlan,
    between_layers,
    compare_theory,
    drop_state,
    dropout,
    mean_behind,
)

P, D = 0.3, 8


def all_masks(width: int, rate: float) -> tuple[Tensor, Tensor]:
    """Every mask [2^D, D], and how probable it is [2^D]."""
    masks = torch.tensor(list(product([0.0, 1.0], repeat=width)), dtype=torch.float64)
    return masks, (masks * (1 - rate) + (1 - masks) * rate).prod(1)


def test_the_mean_is_that_of_evaluation_and_the_square_is_not(subtests: pytest.Subtests) -> None:
    for convention, rate in product(CONVENTIONS, [0.0, 0.1, 0.5, 0.9]):
        with subtests.test(convention=convention, rate=rate):
            masks, weights = all_masks(D, rate)
            values = torch.randn(D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            trained = CONVENTIONS[convention].training(values, masks, rate)
            evaluated = CONVENTIONS[convention].evaluation(values, rate)
            torch.testing.assert_close(weights @ trained, evaluated)
            torch.testing.assert_close(weights @ trained.square(), evaluated.square() / (1 - rate))
            scale = {"classic": 1 - rate, "inverted": 1.0}[convention]
            torch.testing.assert_close(evaluated, scale * values)


def test_torchs_is_the_inverted_one() -> None:
    values = torch.randn(1000)
    torch.manual_seed(0)
    dropped = F.dropout(values, P)
    mask = (dropped != 0).float()
    torch.testing.assert_close(dropped, CONVENTIONS["inverted"].training(values, mask, P))
    torch.testing.assert_close(F.dropout(values, P, training=False), CONVENTIONS["inverted"].evaluation(values, P))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_the_gap_behind_a_nonlinearity_is_that_of_theory(convention: str, nonlinearity: str) -> None:
    """Over all masks of 14 numbers; sums of so few are only roughly normal."""
    masks, weights = all_masks(14, 0.5)
    generator = torch.Generator().manual_seed(0)
    values, weight = torch.rand(14, generator=generator).double(), torch.randn(6, 14, generator=generator).double()
    function, kind = NONLINEARITIES[nonlinearity], CONVENTIONS[convention]
    mean = weights @ function(kind.training(values, masks, 0.5) @ weight.T)
    sums = weight @ kind.evaluation(values, 0.5)
    deviation = (weight.square() @ kind.evaluation(values, 0.5).square()).sqrt()
    expected = mean_behind(function, sums, deviation)
    assert (mean - function(sums)).abs().max() > 0.05
    assert (mean - expected).abs().max() < 0.25 * (mean - function(sums)).abs().max()
    if nonlinearity == "relu":
        assert (mean >= function(sums)).all()  # Jensen


def test_the_mean_of_a_relu_is_the_one_in_tables() -> None:
    mean, deviation = torch.tensor([-1.0, 0.0, 0.5, 2.0]).double(), torch.tensor([1.0, 0.5, 1.0, 0.1]).double()
    normal = torch.distributions.Normal(0.0, 1.0)
    at = mean / deviation
    expected = mean * normal.cdf(at) + deviation * (-at.square() / 2).exp() / math.sqrt(2 * math.pi)
    torch.testing.assert_close(mean_behind(torch.relu, mean, deviation), expected, rtol=0, atol=2e-2)


# States.


def test_what_is_left_of_a_state() -> None:
    torch.manual_seed(0)
    start, steps = torch.randn(4000, 32).double(), np.arange(6.0)
    anew, once = (drop_state(start, None, P, each, 5) for each in (True, False))
    np.testing.assert_allclose(anew.cosine, (1 - P) ** steps, atol=0.005)
    np.testing.assert_allclose(anew.mean, 1, atol=0.03)
    np.testing.assert_allclose(once.cosine[1:], 1 - P, atol=0.005)
    np.testing.assert_allclose(once.mean[1:], (1 - P) ** (1 - steps[1:]), rtol=0.01)
    turn = nn.init.orthogonal_(torch.empty(32, 32)).double()
    for each in (True, False):  # one mask saves nothing where numbers are mixed
        np.testing.assert_allclose(
            drop_state(start, turn, P, each, 3).cosine[-1], 0.7**3 + (1 - 0.7**3) / 32, atol=0.05
        )
    for matrix in (None, turn):
        for each in drop_state(start, matrix, 0.0, True, 3):
            np.testing.assert_allclose(each, 1)


def test_states_are_compared_row_by_row() -> None:
    dropped, clean = torch.randn(2, 3, 4, 5).double()
    dropped[0, 0] = 0
    found = compare_theory(dropped, clean)
    for step in range(3):
        cosines = F.cosine_similarity(dropped[step], clean[step]).square()
        assert found.cosine[step] == pytest.approx(cosines.mean().item())
        sizes = [float(d @ c / (c @ c)) for d, c in zip(dropped[step], clean[step], strict=True)]
        assert found.mean[step] == pytest.approx(np.mean(sizes))


@pytest.mark.parametrize("cell", ["gru", "lstm", "min-gru", "residual-stack:recurrence=gru"])
def test_between_layers_the_first_loses_nothing(cell: str) -> None:
    torch.manual_seed(0)
    first, second = between_layers(cell, 0.5, 8, 16)
    np.testing.assert_allclose(first.cosine, 1)
    np.testing.assert_allclose(first.mean, 1)
    assert (second.cosine[1:] < 0.99).all()
    assert second.cosine[-1] > 2 * 0.5**8


def test_theory_is_reported_with_measurements() -> None:
    threads = torch.get_num_threads()
    found = dropout(DropoutPlan(rates=(0.0, 0.4), steps=4, width=64, draws=6), resamples=50)
    for group, rows in found.baselines["theory"].items():
        for row, expected in rows.items():
            score = found.scores[group][row]["value"]
            assert score == pytest.approx(expected["value"], rel=0.25 if "state" in group else 0.1), (group, row)
            if "p = 0" in (group.rpartition(", ")[2], row.partition(",")[0]) and "classic" not in group:
                assert score == pytest.approx(1), (group, row)
    assert torch.get_num_threads() == threads
    assert found.scores["behind relu, inverted"]["p = 0.4"]["low"] > 1
    assert found.scores["behind tanh, inverted"]["p = 0.4"]["high"] < 1


# The modules of vlrnn.

M = 4000  # masks


def same_on_average(module: nn.Module, run: Callable[[int], Tensor]) -> None:
    """What a module says of M copies of its input is in training, on average, what it says in evaluation, number by
    number, to five standard errors; and no two copies are the same."""
    torch.manual_seed(0)
    with torch.no_grad():
        trained, evaluated = module.train() and run(M), module.eval() and run(1)
    assert not torch.equal(trained[0], trained[1])
    error = trained.std(0) / M**0.5
    assert ((trained.mean(0) - evaluated[0]).abs() <= 5 * error + 1e-6 * evaluated.abs().max()).all()


T = 3


def through(recurrence: Recurrence, by_steps: bool) -> Callable[[int], Tensor]:
    """What a recurrence says of copies of a sequence [M, T, D], by its scan or step by step."""
    xs = torch.randn(1, T, D)

    def run(copies: int) -> Tensor:
        many, state = xs.expand(copies, -1, -1), recurrence.initial_state(copies)
        if not by_steps:
            return recurrence(many, state)[0]
        outputs = []
        for x in many.unbind(1):
            each, state = recurrence.step(x, state)
            outputs.append(each)
        return torch.stack(outputs, 1)

    return run


def test_fused_cells_drop_between_layers_what_they_make_up_for(subtests: pytest.Subtests) -> None:
    """Numbers so small that the second layer is linear in what it is given, to four digits."""
    for by_steps, cell in product([False, True], every_cell.FUSED):
        with subtests.test(by_steps=by_steps, cell=cell):
            torch.manual_seed(0)
            recurrence = every_cell.FUSED[cell](D, num_layers=2, dropout=P).build(D)
            for name in ("weight_ih_l1", "weight_hh_l1"):
                recurrence.kernel.get_parameter(name).data *= 1e-4
            if cell == "rnn-relu":
                recurrence.kernel.get_parameter("bias_ih_l1").data.fill_(1.0)  # where its slope is 1
            same_on_average(recurrence, through(recurrence, by_steps))


def test_our_cells_drop_between_layers_what_they_make_up_for(subtests: pytest.Subtests) -> None:
    """The second layer is made to say what it hears."""
    for by_steps, cell in product([False, True], [*every_cell.OWN, *every_cell.STACKS]):
        with subtests.test(by_steps=by_steps, cell=cell), pytest.MonkeyPatch.context() as monkeypatch:
            torch.manual_seed(0)
            recurrence = every_cell.CELLS[cell](D, num_layers=2, dropout=P).build(D)
            second = recurrence.stack[1] if isinstance(recurrence, LayeredRecurrence) else recurrence.cells[1]
            monkeypatch.setattr(second, "forward", lambda xs, state, *_: (xs, state))
            monkeypatch.setattr(second, "step", lambda x, state: (x, state))
            same_on_average(recurrence, through(recurrence, by_steps))


class Echo(Recurrence):
    """Says what it hears, so that what stands around a recurrence is linear."""

    hidden_size = D

    def build(self, input_width: int) -> "Echo":
        return self

    def initial_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, D)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    def forward(self, xs: Tensor, state: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return xs, xs[:, -1]

    def cell_state(self, state: Tensor) -> Tensor:
        return state

    def layer_outputs(self, state: Tensor) -> Tensor:
        return state[:, None]


TOKENS = torch.tensor([[4, 5, 6]])


@pytest.mark.parametrize("decoder", [ShowAndTell, ShowAttendTell])
def test_decoders_drop_words_and_outputs_that_they_make_up_for(decoder: type) -> None:
    torch.manual_seed(0)
    attention = () if decoder is ShowAndTell else (DotAttention(4),)
    built = decoder(GRU(D), *attention, embedding_dim=D, dropout=P).build(9, D)
    same_on_average(built, lambda copies: built._embed(TOKENS.expand(copies, -1)))
    output = torch.randn(1, D if decoder is ShowAndTell else 3 * D)
    same_on_average(built, lambda copies: built.logits(output.expand(copies, -1)))


def test_readers_drop_words_and_outputs_that_they_make_up_for() -> None:
    torch.manual_seed(0)
    stream = RecurrentLanguageModel(Echo(), embedding_dim=D, dropout=P).build(9)

    def scores(copies: int) -> Tensor:
        memory, tokens = stream.empty_memory(copies), TOKENS.expand(copies, -1)
        return stream.logits(stream(tokens, memory, torch.arange(copies)).hidden)

    same_on_average(stream, scores)
    questions = RecurrentQuestionEncoder(Echo(), embedding_dim=D, dropout=P, layer_norm=False).build(
        [str(each) for each in range(9)]
    )
    same_on_average(questions, lambda copies: questions(TOKENS.expand(copies, -1)))
    xs = torch.randn(1, T, D)
    classifier = SequenceClassifier(Echo(), 3, MeanOverTime(), dropout=P).build(D)
    same_on_average(classifier, lambda copies: classifier(xs.expand(copies, -1, -1)))
    regions = RegionProjection(D, 5, dropout=P)
    mask = torch.ones(M, T, dtype=torch.bool)
    same_on_average(
        regions, lambda copies: regions(Context(xs.expand(copies, -1, -1), mask[:copies], xs.mean(1), None))
    )


def fuse_copies(fusion: Fusion, question: Tensor, image: Tensor, copies: int) -> Tensor:
    return fusion(question.expand(copies, -1), image.expand(copies, -1))


def test_fusions_drop_what_they_make_up_for(subtests: pytest.Subtests) -> None:
    """Also MUTAN, which drops on both sides of a product, by masks that know nothing of each other."""
    for fusion in [Concatenation(D, P), SumFusion(D, P), ProductFusion(D, P), MLB(D, 6, P), Mutan(D, 6, 2, P)]:
        with subtests.test(fusion=fusion):
            torch.manual_seed(0)
            fusion.build(D, D)
            same_on_average(fusion, partial(fuse_copies, fusion, *torch.randn(2, 1, D)))


def test_a_stack_drops_its_copies_alone() -> None:
    """The way around a layer is never dropped."""
    torch.manual_seed(0)
    stack = ResidualStack(Echo(), dropout=0.99).build(D).train()
    x = torch.randn(50, D)
    output, _ = stack.step(x, stack.initial_state(50))
    assert torch.isclose(output, x).float().mean() > 0.9


# The command.

SMALL = ["--steps", "3", "--width", "4", "--draws", "2", "--resamples", "10"]


def test_the_command_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--out", str(tmp_path / "d.json"), "--picture", str(tmp_path / "d.svg")]
    assert main(["probe", "dropout", *SMALL, "--rates", "0.2", "0.5", "--cell", "gru", *files]) == 0
    found = json.loads((tmp_path / "d.json").read_text())
    assert list(found["scores"]["mean, classic"]) == [
        f"p = {rate}, {mode}" for rate in ("0.2", "0.5") for mode in ("training", "evaluation")
    ]
    ways = [f"{what}, {masks}" for what in ("carried", "mixed") for masks in ("a mask a step", "one mask")]
    assert list(found["scores"]["alike, p = 0.5"]) == [*ways, "gru, layer 1", "gru, layer 2"]
    assert found["baselines"]["theory"]["alike, p = 0.5"]["carried, a mask a step"]["value"] == 1 / 8
    assert len(found["details"]["dropout"]["states"]["mean state, p = 0.2"]["gru, layer 2"]["measured"]) == 4
    assert (tmp_path / "d.svg").read_text().startswith("<?xml")
    assert "mean square" in probe_picture(ProbeSection("dropout", "run", [], [], [], found["details"], [], {}))
    assert "mean square, inverted" in capsys.readouterr().out


MISTAKES = [
    (["--rates", "1"], "--rates need at least one, each from 0 to below 1"),
    (["--rates", "-0.1"], "each from 0 to below 1"),
    (["--rates", "nan"], "each from 0 to below 1"),
    (["--steps", "0"], "--steps must be at least 1, not 0"),
    (["--width", "1"], "--width must be at least 2, not 1"),
    (["--draws", "0"], "--draws must be at least 1, not 0"),
    (["--cell", "nonsense"], "nonsense: no recurrence"),
    (["--cell", "bidirectional:recurrence=gru"], "in question encoders only"),
    (["--picture", "x.txt"], "x.txt: pictures are written as one of .png, .svg, .pdf"),
]


def test_mistakes_are_reported(subtests: pytest.Subtests, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, complaint in MISTAKES:
        with subtests.test(arguments=arguments, complaint=complaint):
            assert main(["probe", "dropout", *SMALL, *arguments]) == 2
            assert complaint in capsys.readouterr().err.splitlines()[-1]

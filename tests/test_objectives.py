"""Objectives: cross entropy against its formulas, and checkpoints of one objective under recipes with another."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_vqa_command_line import questions, recipe_in
from torch import Tensor, nn

from vlrnn.cli import main
from vlrnn.data.records import Prediction, RecordFile
from vlrnn.nn.decoders.base import DecoderOutput
from vlrnn.text.vocabulary import PAD
from vlrnn.training.objectives.base import CrossEntropy

__all__ = ["questions"]  # a fixture

M, T, N, V, D = 3, 5, 4, 7, 6


class Readout(nn.Module):
    """As much of a decoder as a loss needs."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(D, V)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.score(hidden)


def case() -> tuple[Any, DecoderOutput, Tensor]:
    targets = torch.randint(1, V, (M, T))
    targets[1, 3:] = PAD
    targets[2, 1:] = PAD
    attention = torch.randn(M, T, N).softmax(-1)
    return Readout(), DecoderOutput(torch.randn(M, T, D, requires_grad=True), attention), targets


def cross_entropy(logits: Tensor, target: int, smoothing: float) -> Tensor:
    """-(1 - s) log p(target) - s / V * sum of log p, in nats."""
    log_p = logits - logits.exp().sum().log()
    return -(1 - smoothing) * log_p[target] - smoothing * log_p.mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_formula(smoothing: float, weight: float) -> None:
    decoder, output, targets = case()
    loss = CrossEntropy(smoothing, weight)(decoder, output, targets)
    total, count = torch.zeros(()), 0
    for row in range(M):
        attended = [0.0] * N
        for time in range(T):
            if targets[row, time] != PAD:
                total = total + cross_entropy(
                    decoder.score(output.hidden[row, time]), int(targets[row, time]), smoothing
                )
                attended = [old + float(new) for old, new in zip(attended, output.attention[row, time], strict=True)]
                count += 1
        total = total + weight * sum((1 - each) ** 2 for each in attended)
    assert int(loss.count) == count == 9
    assert loss.total.dim() == 0
    torch.testing.assert_close(loss.total, total)


def test_sums_add_up() -> None:
    """The loss of a batch is the sum of the losses of its rows, whatever they are filled up to."""
    decoder, output, targets = case()
    objective = CrossEntropy(0.1, 1.0)
    whole = objective(decoder, output, targets)
    parts = []
    for row in range(M):
        length = int((targets[row] != PAD).sum())
        part = DecoderOutput(output.hidden[row : row + 1, :length], output.attention[row : row + 1, :length])
        parts.append(objective(decoder, part, targets[row : row + 1, :length]))
    torch.testing.assert_close(whole.total, sum(part.total for part in parts))
    assert whole.count == sum(part.count for part in parts)


def test_what_is_filled_up_learns_nothing() -> None:
    decoder, output, targets = case()
    CrossEntropy(0.1, 1.0)(decoder, output, targets).total.backward()
    assert (output.hidden.grad[targets == PAD] == 0).all()
    assert (output.hidden.grad[targets != PAD].abs().sum(-1) > 0).all()


def test_decoders_that_do_not_attend_have_no_penalty() -> None:
    decoder, output, targets = case()
    blind = DecoderOutput(output.hidden, None)
    assert torch.equal(
        CrossEntropy(0.0, 5.0)(decoder, blind, targets).total, CrossEntropy()(decoder, output, targets).total
    )


def test_half_precision_is_summed_in_full() -> None:
    decoder, output, targets = case()
    half = DecoderOutput(output.hidden.bfloat16(), output.attention.bfloat16())
    loss = CrossEntropy(0.1, 1.0)(decoder.bfloat16(), half, targets)
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(
        loss.total, CrossEntropy(0.1, 1.0)(decoder.float(), output, targets).total, rtol=0.02, atol=0.1
    )


def test_no_rows() -> None:
    decoder, output, targets = case()
    loss = CrossEntropy(0.1, 1.0)(decoder, DecoderOutput(output.hidden[:0], output.attention[:0]), targets[:0])
    assert loss.total == 0
    assert loss.count == 0


# Checkpoints.


@pytest.fixture(scope="module")
def trained(questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a recipe, and the run of a classifier that was trained with RUBi around a softmax."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = recipe_in(folder, questions, "classifier")
    assert main(["fit", "--config", str(recipe), "--model.init_args.objective", "vlrnn.training.RUBi"]) == 0
    return folder


def by(folder: Path, command: str, objective: str, *flags: str) -> int:
    recipe = ["--config", str(folder / "recipe.yaml"), "--model.init_args.objective", f"vlrnn.training.{objective}"]
    return main([command, *recipe, *flags])


def test_what_a_checkpoint_holds_of_its_objective(trained: Path, tmp_path: Path) -> None:
    best = trained / "run/checkpoints/best.ckpt"
    checkpoint = torch.load(best, weights_only=True)
    assert "objective" not in checkpoint["vlrnn"]["task"]["arguments"]
    assert checkpoint["vlrnn"]["task"]["arguments"]["link"] == "softmax"
    assert checkpoint["vlrnn"]["objective"]["class"] == "vlrnn.training.RUBi"
    weights = {name for name in checkpoint["state_dict"] if name.startswith("objective.")}
    assert len(weights) == 6
    assert main(["export", "--checkpoint", str(best), "--out", str(tmp_path / "model")]) == 0
    assert load_file(tmp_path / "model/model.safetensors").keys() == checkpoint["state_dict"].keys() - weights


def test_it_is_tested_with_another_objective(trained: Path) -> None:
    """The answers and their probabilities are those of its own, whatever the recipe's objective trains."""
    found = []
    for objective in ("RUBi", "SoftScores", "LearnedMixin"):
        for command in ("validate", "test"):
            assert by(trained, command, objective) == 0
        found.append(list(RecordFile(trained / "run/splits/val/predictions.jsonl", Prediction)))
    assert found[0] == found[1] == found[2]
    assert found[0][0].score_name == "softmax probability"


def test_it_starts_another_training(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["--trainer.default_root_dir", str(tmp_path / "run")]
    best = str(trained / "run/checkpoints/best.ckpt")
    assert by(trained, "fit", "SoftScores", *run, "--init_from", best) == 0
    assert "new: nothing" in capsys.readouterr().err
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["vlrnn"]["task"]["arguments"]["link"] == "sigmoid"


def test_it_goes_on_with_another_objective_of_the_same_weights(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def go_on(checkpoint: str, objective: str, *flags: str) -> tuple[int, list[str]]:
        run = ["--trainer.default_root_dir", str(tmp_path / objective), "--trainer.max_epochs", "2"]
        code = by(trained, "fit", objective, *run, "--ckpt_path", checkpoint, *flags)
        return code, capsys.readouterr().err.splitlines()

    last = str(trained / "run/checkpoints/last.ckpt")
    code, lines = go_on(last, "RUBi", "--model.init_args.objective.weight", "0.5")
    assert code == 0
    assert [line for line in lines if "objective" in line] == [
        "training continues with another objective (weight: 1.0 there, 0.5 here)"
    ]
    code, lines = go_on(last, "SoftScores")
    assert code == 2
    assert lines[-1].startswith(
        "vlrnn fit: the checkpoint was trained with another objective than the recipe's, with other weights (RUBi "
        "there, SoftScores here); "
    )
    assert lines[-1].endswith("--init_from")


def test_an_objective_of_another_task_is_refused(
    fit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(tmp_path / "run", "--model.init_args.objective", "vlrnn.training.SoftScores") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith("objective: SoftScores is for tasks of the type AnswerTask, which Captioner is not")

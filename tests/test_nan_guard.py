"""Training that diverges is noticed, named, and leaves a checkpoint that is good."""

from pathlib import Path

import pytest
import torch
from test_training_cli import Workshop, one_line
from torch import nn

from vlrnn.errors import UserError
from vlrnn.training.optimization import LossGuard


def test_the_first_bad_step_is_named_with_its_examples() -> None:
    guard, model = LossGuard(), nn.Linear(2, 1)
    guard.watch(6, ["a"], torch.tensor(1.0), model)
    model.bias.data.fill_(torch.nan)
    with pytest.raises(
        UserError, match=r"step 7 is nan, over the examples a, b, c, d, e and 2 more; bias is not finite, either"
    ):
        guard.watch(7, list("abcdefg"), torch.tensor(torch.nan), model)


def test_losses_of_a_gpu_are_checked_together() -> None:
    """A `meta` tensor has no number: looking at it ahead of time would be an error."""
    guard, model = LossGuard(every=3), nn.Linear(2, 1)
    for step in range(2):
        guard.watch(step, [step], torch.tensor(1.0, device="meta"), model)
    with pytest.raises(NotImplementedError):
        guard.watch(2, [2], torch.tensor(1.0, device="meta"), model)


def test_the_first_of_many_is_named() -> None:
    guard, model = LossGuard(), nn.Linear(2, 1)
    guard._pending = [
        (step, [f"image {step}"], torch.tensor(loss)) for step, loss in enumerate((1.0, torch.inf, torch.nan))
    ]
    with pytest.raises(UserError, match="step 1 is inf, over the examples image 1;"):
        guard.check(3, model)


def test_parameters_that_are_saved_are_finite() -> None:
    model = nn.Linear(2, 1)
    model.weight.data[0, 1] = torch.inf
    with pytest.raises(UserError, match="weight is not finite after step 9"):
        LossGuard().check(9, model)


def test_diverging_training_keeps_its_last_good_checkpoint(
    classifier_file: Path, dataset: Path, tmp_path: Path
) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    done = shop.run(
        "fit",
        "--model.init_args.optimization.lr",
        "1e38",
        "--model.init_args.optimization.warmup_fraction",
        "0.9",
        "--trainer.gradient_clip_val",
        "null",
        "--trainer.max_epochs",
        "30",
        "--checkpoint.last_every_n_steps",
        "1",
    )
    assert done.returncode == 2
    one_line(done.stderr.splitlines()[-1], "training has diverged", "--ckpt_path last")
    last = torch.load(shop.run_folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(each.isfinite().all() for each in last["state_dict"].values())

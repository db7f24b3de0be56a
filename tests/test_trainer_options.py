"""Lightning's options and callbacks: each works, or is refused in one line; and a recipe that was written can be used
again."""

import csv
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from quick import quick
from test_run_start import Fit, printed_line

from vlrnn.cli import main
from vlrnn.errors import UserError
from vlrnn.training.module import Task
from vlrnn.training.trainer_options import refuse_options, watch_score

_CALLBACK = "--trainer.callbacks+=pytorch_lightning.callbacks."

COMMANDS: dict[str, tuple[list[str], str]] = {
    "optimizer": (["--optimizer", "SGD", "--optimizer.lr", "0.5"], "unrecognized arguments: --optimizer"),
    "scheduler": (["--lr_scheduler", "StepLR", "--lr_scheduler.step_size", "1"], "unrecognized arguments: --lr_sch"),
    "weights_only": (["--weights_only", "false"], "unrecognized arguments: --weights_only"),
    **{
        f"checkpoint.{name}": ([f"--checkpoint.{name}", value], f"unrecognized arguments: --checkpoint.{name}")
        for name, value in (("dirpath", "x"), ("filename", "x"), ("save_top_k", "3"), ("save_last", "true"))
    },
    "number": (["--trainer.overfit_batches", "0.5"], "trainer.overfit_batches 0.5: --overfit N"),
    "strategy": (["--trainer.strategy", "ddp_spawn"], "trainer.strategy ddp_spawn: "),
    "min_epochs": (["--trainer.min_epochs", "3", "--trainer.max_epochs", "2"], "trainer.max_epochs, 2"),
    "checkpoint.mode": (["--checkpoint.mode", "min"], "checkpoint.mode min: for val/CIDEr, "),
    "early_stopping.mode": (
        ["--early_stopping.mode", "max", "--early_stopping.monitor", "val/loss"],
        "early_stopping.mode max: for val/loss, ",
    ),
    "callback": (
        [f"{_CALLBACK}GradientAccumulationScheduler", '--trainer.callbacks.scheduling={"0": 1, "1": 2}'],
        "trainer.callbacks GradientAccumulationScheduler: ",
    ),
}


def test_what_would_do_nothing_is_refused(
    subtests: pytest.Subtests, fit: Fit, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Options of every kind on the command line; all of them below."""
    for option, (flags, words) in COMMANDS.items():
        with subtests.test(option=option):
            tmp_path = tmp_path_factory.mktemp("case")
            assert fit(str(tmp_path / "run"), *flags) == 2
            line = printed_line(capsys)
            assert line.count("\n") == 0, line
            assert words in line
            assert not (tmp_path / "run").exists()


OPTIONS: list[tuple[str, Any]] = [
    ("accumulate_grad_batches", 0),
    ("enable_checkpointing", False),
    ("barebones", True),
    ("overfit_batches", 1),
    ("overfit_batches", 0.5),
    ("reload_dataloaders_every_n_epochs", 1),
    ("limit_predict_batches", 1),
    ("gradient_clip_val", -1),
    ("max_epochs", 0),
    ("max_steps", 0),
    ("limit_train_batches", 0),
    ("limit_val_batches", 0),
    ("limit_test_batches", 0),
    ("model_registry", "name"),
    ("use_distributed_sampler", False),
    ("strategy", "ddp_spawn"),
    ("strategy", "ddp_fork_find_unused_parameters_true"),
    ("strategy", "fsdp"),
    ("strategy", "deepspeed_stage_2"),
]
CALLBACKS: list[tuple[str, dict[str, Any]]] = [
    ("LearningRateFinder", {}),
    ("BatchSizeFinder", {}),
    ("GradientAccumulationScheduler", {"scheduling": {0: 1, 1: 2}}),
    ("BackboneFinetuning", {}),
    ("ModelPruning", {"pruning_fn": "l1_unstructured"}),
    ("OnExceptionCheckpoint", {"dirpath": "x"}),
    ("ModelCheckpoint", {"save_last": True}),
    ("ModelCheckpoint", {"filename": "best"}),
]
UNSET = dict.fromkeys(["min_epochs", "max_epochs", "min_steps", "max_steps", "callbacks"])


def test_every_option_that_would_do_nothing(subtests: pytest.Subtests) -> None:
    cases: list[tuple[dict[str, Any], str]] = [({name: value}, f"trainer.{name} ") for name, value in OPTIONS]
    for name, arguments in CALLBACKS:
        callback = {"class_path": f"pytorch_lightning.callbacks.{name}", "init_args": arguments}
        cases.append(({"callbacks": [callback]}, f"trainer.callbacks {name}: "))
    for unit in ("epochs", "steps"):
        cases.append(
            ({f"min_{unit}": 3, f"max_{unit}": 2}, f"trainer.min_{unit} 3: is more than trainer.max_{unit}, 2")
        )
    for given, words in cases:
        with subtests.test(given=given), pytest.raises(UserError, match=words):
            refuse_options({**UNSET, **given})
    for watching, (monitor, mode) in product(
        ["checkpoint", "early_stopping"], [("", "min"), ("val/CIDEr", "min"), ("val/loss", "max")]
    ):
        words = f"{watching}.mode {mode}: for {monitor or 'val/CIDEr'}, "
        with subtests.test(callback=watching, monitor=monitor), pytest.raises(UserError, match=words):
            watch_score(watching, {"monitor": monitor, "mode": mode}, "val/CIDEr", "max")


def logged(run: Path, name: str) -> list[float]:
    with (run / "log.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def weights(run: Path, name: str = "last") -> torch.Tensor:
    state = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
    return torch.cat([each.flatten() for each in state.values()])


WORK: dict[str, list[str]] = {
    "max_steps": ["--trainer.max_steps", "1"],
    "limit_train_batches": ["--trainer.limit_train_batches", "1"],
    "accumulate_grad_batches": ["--trainer.accumulate_grad_batches", "2"],
    "gradient_clip_val": ["--trainer.gradient_clip_val", "0.001"],
    "gradient_clip_algorithm": ["--trainer.gradient_clip_algorithm", "value", "--trainer.gradient_clip_val", "0.001"],
    "WeightAveraging": [f"{_CALLBACK}EMAWeightAveraging"],
    "StochasticWeightAveraging": [f"{_CALLBACK}StochasticWeightAveraging", "--trainer.callbacks.swa_lrs", "0.01"],
}


@pytest.fixture(scope="module")
def plain(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("plain") / "run"
    assert fit(run) == 0
    return run


@pytest.mark.parametrize("option", quick(WORK, "accumulate_grad_batches", "StochasticWeightAveraging"))
def test_what_is_accepted_works(
    option: str,
    fit: Fit,
    plain: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is learnt is something else; and the recipe that is left does the same again, but for what it says that it
    lacks."""
    assert fit(str(tmp_path / "run"), *WORK[option]) == 0
    assert "Warning" not in capsys.readouterr().err
    assert not torch.equal(weights(tmp_path / "run"), weights(plain))
    again = ["--config", str(tmp_path / "run" / "config.yaml"), "--trainer.default_root_dir", str(tmp_path / "again")]
    assert main(["fit", *again]) == 0
    assert torch.equal(weights(tmp_path / "run"), weights(tmp_path / "again"))


def test_a_run_ends_when_its_time_is_over(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--trainer.max_time",
        "00:00:00:01",
        "--trainer.max_epochs",
        "100000",
        "--early_stopping.patience",
        "100000",
    ]
    assert fit(str(tmp_path), *flags) == 0
    step = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < step < 200000
    capsys.readouterr()
    assert fit(str(tmp_path), *flags, "--ckpt_path", "last") == 0
    assert "training has used its time; to continue, give a longer --trainer.max_time" in printed_line(capsys)


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--trainer.accumulate_grad_batches", "2"),
        ("--trainer.limit_train_batches", "1"),
        ("--trainer.max_steps", "3"),
    ],
)
def test_the_learning_rate_ends_at_zero(flags: tuple[str, ...], fit: Fit, tmp_path: Path) -> None:
    assert fit(str(tmp_path), "--data.batch_size", "2", *flags) == 0
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert [group["lr"] for group in state["optimizer_states"][0]["param_groups"]] == pytest.approx([0, 0])


def test_what_a_recipe_cannot_hold_is_reported(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [f"{_CALLBACK}StochasticWeightAveraging", "--trainer.callbacks.swa_lrs", "0.01"]
    assert fit(str(tmp_path), *flags) == 0
    line = printed_line(capsys)
    assert line.count("\n") == 0
    assert re.search(
        r"config\.yaml: without trainer\.callbacks\.0\.init_args\.\w+.*, which cannot be stored in a file", line
    )
    text = (tmp_path / "config.yaml").read_text()
    assert "Unable" not in text
    assert yaml.safe_load(text)["trainer"]["callbacks"][0]["init_args"]["swa_lrs"] == 0.01


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--trainer.val_check_interval", "7"), "trainer: `val_check_interval` (7) must be"),
        (("--trainer.max_epochs", "-1"), "trainer.max_epochs or max_steps must be set"),
        (("--early_stopping.monitor", "val/none"), "early_stopping.monitor val/none: no score; there are train/loss, "),
        (("--checkpoint.monitor", "val/none"), "could not find the monitored key"),
    ],
)
def test_what_only_training_can_find_wrong_is_reported(
    flags: tuple[str, ...], words: str, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(str(tmp_path), *flags) == 2
    line = printed_line(capsys)
    assert line.count("\n") == 0
    assert words in line


WATCHED = [
    ({}, ("val/bits", "min")),
    ({"mode": "min"}, ("val/bits", "min")),
    ({"monitor": "val/bits"}, ("val/bits", "min")),
    ({"monitor": "val/loss"}, ("val/loss", "min")),
    ({"monitor": "val/BLEU-4", "mode": "min"}, ("val/BLEU-4", "min")),
    ({"monitor": "val/BLEU-4"}, ("val/BLEU-4", "max")),
]


def test_which_score_is_watched(subtests: pytest.Subtests) -> None:
    for callback, (given, watched) in product(["checkpoint", "early_stopping"], WATCHED):
        with subtests.test(callback=callback, given=given, watched=watched):
            settings = {"monitor": "", "mode": "", **given}
            watch_score(callback, settings, "val/bits", "min")
            assert (settings["monitor"], settings["mode"]) == watched


def test_early_stopping_waits_for_its_first_validation(fit: Fit, tmp_path: Path) -> None:
    assert fit(str(tmp_path), "--trainer.check_val_every_n_epoch", "2") == 0


def test_a_member_of_an_enumeration_is_written_as_its_value(fit: Fit, tmp_path: Path) -> None:
    """As a Timer's interval is one, by default."""
    assert fit(str(tmp_path / "run"), f"{_CALLBACK}Timer", "--trainer.callbacks.duration", "00:00:01:00") == 0
    config = tmp_path / "run" / "config.yaml"
    assert yaml.safe_load(config.read_text())["trainer"]["callbacks"][0]["init_args"]["interval"] == "step"
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path / "again")]) == 0


def test_a_checkpoint_callback_of_ones_own_is_used_too(fit: Fit, tmp_path: Path) -> None:
    assert fit(str(tmp_path), f"{_CALLBACK}ModelCheckpoint", "--trainer.callbacks.filename", "own") == 0
    assert {path.name for path in tmp_path.rglob("*.ckpt")} == {"best.ckpt", "last.ckpt", "own.ckpt"}


def test_every_epoch_logs_the_loss_of_training(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean over all words of the epoch, however few its steps are."""
    sums: dict[int, list[float]] = {}
    before = Task.training_step

    def training_step(self: Task, batch: Any, index: int) -> Any:
        loss = self.loss(batch)
        total, words = sums.get(self.current_epoch, [0.0, 0.0])
        sums[self.current_epoch] = [total + float(loss.total.detach()), words + float(loss.count)]
        return before(self, batch, index)

    monkeypatch.setattr(Task, "training_step", training_step)
    dropout = "--model.init_args.decoder.init_args.dropout"
    assert fit(str(tmp_path), "--trainer.max_epochs", "3", dropout, "0") == 0
    assert logged(tmp_path, "train/loss") == pytest.approx([total / words for total, words in sums.values()], rel=1e-5)
    assert len(logged(tmp_path, "train/seconds")) == 3

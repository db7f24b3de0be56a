"""Training that is killed, by SIGKILL and anywhere, and goes on: it ends as if nothing had happened, bit by bit."""

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from test_training_cli import Workshop

from vlrnn.files import read_json

KILLING = Path(__file__).with_name("killing.py")

VARIANTS = {
    "captions drawn anew": ["--data.captions_per_image", "1"],
    "in a worker": ["--data.num_workers", "1", "--data.captions_per_image", "1"],
    "gradients accumulated": ["--trainer.accumulate_grad_batches", "2", "--data.batch_size", "1"],
    "pixels": ["--data.cache", "null"],
    "validated twice an epoch": ["--trainer.val_check_interval", "0.5"],
    "validated every other epoch": ["--trainer.check_val_every_n_epoch", "2"],
    "counted in steps": ["--trainer.max_epochs", "-1", "--trainer.max_steps", "19"],
    "stopped early": ["--early_stopping.monitor", "val/loss", "--early_stopping.patience", "2"],
    "weights averaged": ["--trainer.callbacks+=WeightAveraging"],
}


def fit(shop: Workshop, *more: str) -> list[str]:
    options = {
        "trainer.default_root_dir": shop.run_folder,
        "trainer.max_epochs": 5,
        "trainer.log_every_n_steps": 1,
        "data.batch_size": 2,
        "checkpoint.last_every_n_steps": 3,
        "ckpt_path": "last",
    }
    flags = [str(each) for name, value in options.items() for each in (f"--{name}", value)]
    return ["fit", "--config", str(shop.folder / "recipe.yaml"), *flags, *more]


def killed(shop: Workshop, arguments: list[str], *, kills: int, seed: int) -> list[Path]:
    """Run a command whole, and with `kills` kills in all, see killing.py: the folders of the runs that were killed."""
    plan = {
        "arguments": arguments,
        "folder": str(shop.run_folder),
        "kills": kills,
        "seed": seed,
        "spare": [str(shop.folder / "cache")],
    }
    environment = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, KILLING]
    done = forked.run(
        command, input=json.dumps(plan), cwd=shop.folder, env=environment, capture_output=True, timeout=550
    )
    assert done.returncode == 0, done.stderr
    return [shop.folder / f"killed-{number}" for number in range(int(done.stdout.splitlines()[-1]))]


def same(ours: Any, theirs: Any, place: str = "") -> None:
    """Two checkpoints hold the same, bit by bit."""
    assert type(ours) is type(theirs), place
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), place
        for key in ours:
            same(ours[key], theirs[key], f"{place}/{key}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), place
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            same(*pair, f"{place}/{number}")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours.nan_to_num(-7.5), theirs.nan_to_num(-7.5)), place
    else:
        assert ours == theirs, place


def logged(run: Path) -> list[dict[str, str]]:
    """The rows of the log, but for how long an epoch took."""
    with (run / "log.csv").open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "train/seconds"} for row in csv.DictReader(file)]


def same_run(ours: Path, theirs: Path) -> None:
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        same(*(torch.load(run / name, weights_only=True) for run in (ours, theirs)), name)
    assert logged(ours) == logged(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_killed_run_ends_as_if_it_had_not_been(
    variant: str, classifier_file: Path, dataset: Path, tmp_path: Path
) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    for run in killed(shop, fit(shop, *VARIANTS[variant]), kills=3, seed=len(variant)):
        same_run(run, tmp_path / "whole")


@pytest.mark.slow
def test_twenty_kills(classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    """At any moment: before there is a cache, as it is made, within steps, validations, and the writing of files."""
    shop = Workshop(tmp_path, classifier_file, dataset)
    for run in killed(shop, fit(shop, "--data.captions_per_image", "1"), kills=20, seed=20):
        same_run(run, tmp_path / "whole")


@pytest.mark.slow
def test_scoring_is_killed(classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    assert shop.run("fit").returncode == 0
    best = tmp_path / "best.ckpt"
    (shop.run_folder / "checkpoints/best.ckpt").rename(best)
    test = ["test", "--config", str(shop.folder / "recipe.yaml"), "--ckpt_path", str(best)]
    whole = tmp_path / "whole"
    for run in killed(shop, test, kills=5, seed=1):
        assert read_json(run / "metrics.json")["scores"] == read_json(whole / "metrics.json")["scores"]
        assert (run / "predictions.jsonl").read_text() == (whole / "predictions.jsonl").read_text()

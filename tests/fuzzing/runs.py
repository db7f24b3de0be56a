"""Run folders in which something is odd, and flags that fit to none: to what trains, scores and reports there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import yaml

from fuzzing.mutations import bend, bend_bytes, odd_text, odd_value
from fuzzing.running import Case
from fuzzing.world import MODELS, World

_FLAGS = (
    ("--overwrite",),
    ("--ckpt_path", "last"),
    ("--ckpt_path", "last", "--overwrite"),
    ("--trainer.enable_checkpointing", "false"),
    ("--trainer.barebones", "true"),
    ("--trainer.max_epochs", "0"),
    ("--trainer.max_epochs", "1", "--ckpt_path", "last"),
    ("--trainer.max_steps", "1"),
    ("--trainer.max_time", "00:00:00:01"),
    ("--trainer.limit_train_batches", "0"),
    ("--trainer.limit_val_batches", "0"),
    ("--trainer.precision", "bf16-true"),
    ("--trainer.precision", "64-true"),
    ("--trainer.precision", "16-mixed"),
    ("--trainer.gradient_clip_val", "-1"),
    ("--trainer.gradient_clip_algorithm", "value"),
    ("--trainer.accumulate_grad_batches", "3"),
    ("--trainer.callbacks+=LearningRateFinder",),
    ("--trainer.callbacks+=BatchSizeFinder",),
    ("--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs", "0.1"),
    ("--trainer.callbacks+=GradientAccumulationScheduler", "--trainer.callbacks.scheduling", "{1: 2}"),
    ("--trainer.callbacks+=ModelCheckpoint",),
    ("--trainer.callbacks+=Timer",),
    ("--trainer.logger", "false"),
    ("--trainer.profiler", "simple"),
    ("--trainer.detect_anomaly", "true"),
    ("--optimizer", "Adam"),
    ("--optimizer", "SGD", "--optimizer.lr", "0.1"),
    ("--lr_scheduler", "StepLR", "--lr_scheduler.step_size", "1"),
    ("--early_stopping.patience", "0"),
    ("--early_stopping.monitor", "no/such"),
    ("--checkpoint.monitor", "no/such"),
    ("--model.init_args.optimization.lr", "0.5", "--ckpt_path", "last"),
    ("--model.init_args.optimization.lr", "nan"),
    ("--seed_everything", "false"),
)


def make(random: Random, world: World, folder: Path) -> Case:
    name = random.choice(list(MODELS))
    run = folder / "run"
    shutil.copytree(world.folder / name, run)
    for _ in range(random.choice((0, 1, 1, 2))):
        ODDITIES[random.choice(list(ODDITIES))](random, run)
    command = random.choice(("fit", "fit", "fit", "test", "validate", "report"))
    if command == "report":
        split = ["--split", random.choice(("test", "val", "train", "no-such", ""))] if random.random() < 0.7 else []
        return Case(["report", str(run), *split, "--out", "out/page.html", "--quiet"])
    place = random.choice((str(run), str(run), f"{run}/", f"./{run.name}", f"{folder}/../{folder.name}/run"))
    flags = ["--trainer.default_root_dir", place, "--trainer.enable_model_summary=false"]
    flags += random.choice(_FLAGS) if command == "fit" or random.random() < 0.2 else ()
    return Case([command, "--config", str(world.recipe(name)), *flags, "--quiet"])


def _spoil_file(random: Random, run: Path) -> None:
    files = sorted(each for each in run.rglob("*") if each.is_file())
    if files:
        path = random.choice(files)
        path.write_bytes(bend_bytes(random, path.read_bytes()))


def _remove(random: Random, run: Path) -> None:
    places = sorted(run.rglob("*"))
    if places:
        path = random.choice(places)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _left_over(random: Random, run: Path) -> None:
    """What a kill leaves, and what others put there."""
    names = ("checkpoints/.last.ckpt.abcd", ".lock", "checkpoints/last-v1.ckpt", "notes.txt", "splits/x/metrics.json")
    path = run / random.choice(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.choice((b"", random.randbytes(500), odd_text(random, 500).encode(errors="replace"))))


def _file_for_folder(random: Random, run: Path) -> None:
    name = random.choice(("checkpoints", "probes", "splits", "metrics.json", "log.csv"))
    path = run / name
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("x")
    else:
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)


def _bend_config(random: Random, run: Path) -> None:
    path = run / "config.yaml"
    if path.is_file():
        try:
            value = yaml.safe_load(path.read_text())
        except yaml.YAMLError:
            return
        path.write_text(yaml.safe_dump(bend(random, value) if random.random() < 0.7 else odd_value(random)))


def _link(random: Random, run: Path) -> None:
    path = run / random.choice(("checkpoints", "log.csv", "metrics.json"))
    if path.exists() and not path.is_symlink():
        elsewhere = run.with_name(f"elsewhere-{path.name}")
        if not elsewhere.exists():
            path.rename(elsewhere)
            os.symlink(elsewhere, path)


ODDITIES: dict[str, Callable[[Random, Path], None]] = {
    "file": _spoil_file,
    "removed": _remove,
    "left over": _left_over,
    "file for folder": _file_for_folder,
    "config": _bend_config,
    "link": _link,
}

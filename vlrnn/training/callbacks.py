"""Lightning callbacks and loggers that write the run folder: log, recipe, checkpoints, progress, interruption."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from jsonargparse import Namespace
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.cli import LightningArgumentParser, SaveConfigCallback
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.plugins.io import TorchCheckpointIO

from vlrnn.files import replacing
from vlrnn.progress import Lines, print_progress, rate, terminal_bar
from vlrnn.terminal import print_line
from vlrnn.training.checkpoint import read_checkpoint
from vlrnn.training.recipes import plain_recipe
from vlrnn.training.resuming import RecipeCheckpoint, RunLog

_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
"""Ctrl-C, and what clusters send that want a machine back."""


class GracefulInterrupt(Callback):
    """Ends a run that is interrupted between two steps, keeps what it has learnt, and prints how to resume it.

    Left to itself, Ctrl-C would strike anywhere: in the middle of a step, of writing a file, of a validation that
    could not be taken up again, or where Python swallows it. Pressed twice it does, and the checkpoint before is left.
    """

    def __init__(self) -> None:
        self._is_ending = False
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():  # no other may
            request = partial(self._request_stop, trainer)
            self._before = {each: signal.signal(each, request) for each in _ENDING}

    def _request_stop(self, trainer: pl.Trainer, number: int, _: Any) -> None:
        if self._is_ending:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return  # clusters repeat themselves
        self._is_ending = True
        for each in trainer.checkpoint_callbacks:
            if isinstance(each, RecipeCheckpoint):
                each.request_stop()
        print("stopping after this step or this validation; Ctrl-C again stops at once", file=sys.stderr)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and trainer.state.fn == "fit" and trainer.is_global_zero:
            ours = (each for each in trainer.checkpoint_callbacks if isinstance(each, RecipeCheckpoint))
            if path := getattr(next(ours, None), "last_model_path", ""):
                config = Path(trainer.default_root_dir) / "config.yaml"
                print_line(f"interrupted; the state of training is in {path}", file=sys.stderr)
                print_line(f"to resume: vlrnn fit --config {config} --ckpt_path {path}", file=sys.stderr)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints whole, and reads them without unpickling anything, whatever the Trainer asks for."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], *_: Any, **__: Any) -> None:
        with replacing(Path(path), binary=True) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: str | os.PathLike[str], *_: Any, **__: Any) -> dict[str, Any]:
        return read_checkpoint(Path(path))


class RunConfig(SaveConfigCallback):
    """Saves the recipe of a run as `config.yaml` when training begins, not ahead of it: a checkpoint that is refused
    leaves the recipe there. A later test or validation leaves that of training, too."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace) -> None:
        super().__init__(parser, config, save_to_log_dir=False)  # which would not write it whole

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Nothing yet."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save_config(trainer, pl_module, "fit")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "validate":
            self.save_config(trainer, pl_module, "validate")

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save_config(trainer, pl_module, "test")

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        path = Path(trainer.default_root_dir) / self.config_filename
        if trainer.is_global_zero and (stage == "fit" or not path.is_file()):
            recipe, left_out = plain_recipe(self.parser, self.config)
            with replacing(path) as file:
                yaml.safe_dump(recipe, file, sort_keys=False, allow_unicode=True)
            if left_out:
                print_progress(f"{path}: without {', '.join(left_out)}, which cannot be stored in a file")


def cluster(plugins: Iterable[Any]) -> list[ClusterEnvironment]:
    """SLURM, where it started this process, and nothing else is named: without Lightning's own way to queue a job once
    more, whose checkpoints lie within a step, and are taken for newer than `last.ckpt` ever after."""
    named = any(isinstance(each, ClusterEnvironment) for each in plugins)
    if named or TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return []
    return [SLURMEnvironment(auto_requeue=False)]


def loggers(folder: str, wanted: bool | Logger | Iterable[Logger] | None) -> list[Logger]:
    """`log.csv` always; beside it what a recipe wants, or else TensorBoard's files, where it is installed."""
    found: list[Logger] = [RunLog(folder)]
    if isinstance(wanted, Logger):
        found.append(wanted)
    elif isinstance(wanted, Iterable):
        found.extend(wanted)
    elif find_spec("tensorboard"):
        found.append(TensorBoardLogger(folder, name="", version="tensorboard"))
    return found


class ProgressLines(Callback):
    """Reports the batches of each epoch, validation and test, in plain lines at intervals."""

    def __init__(self) -> None:
        self._lines: dict[str, Lines] = {}

    def _advance(self, trainer: pl.Trainer, name: str, total: float, done: int) -> None:
        if name not in self._lines:
            self._lines[name] = Lines(name, int(total), "batches")
        self._lines[name].advance(1)

    def _finish(self, trainer: pl.Trainer, name: str) -> None:
        if name in self._lines:
            self._lines.pop(name).finish()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self._advance(trainer, _epoch(trainer), trainer.num_training_batches, done)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, _epoch(trainer))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        batches = trainer.num_test_batches if trainer.testing else trainer.num_val_batches
        self._advance(trainer, "testing" if trainer.testing else "validating", sum(batches), batch_idx + 1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, "testing" if trainer.testing else "validating")

    on_test_batch_end, on_test_end = on_validation_batch_end, on_validation_end  # type: ignore[assignment]


class ProgressLine(ProgressLines):
    """On a terminal: one line with a bar for what is under way, and a line that stays for each epoch. The loss is that
    of every so many steps, as in the log: to read it, a GPU is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = terminal_bar(transient=True)
        self._task = self._bar.add_task("", total=None, speed="batches")
        self._name, self._began, self._first, self._loss = "", 0.0, 0, ""

    def _advance(self, trainer: pl.Trainer, name: str, total: float, done: int) -> None:
        if name != self._name:
            self._name, self._began, self._first = name, time.monotonic(), done - 1
            self._bar.reset(self._task, description=name, total=total, completed=done - 1, speed="batches")
            self._bar.start()
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # which Lightning sets, and does not declare
        if trainer.training and trainer.global_step % every == 0:
            self._loss = f", loss {float(trainer.callback_metrics['train/loss']):.3f}"
        speed = f"batches, {rate(done - self._first, time.monotonic() - self._began)}{self._loss}"
        self._bar.update(self._task, completed=done, speed=speed)

    def _finish(self, trainer: pl.Trainer, name: str) -> None:
        self._bar.stop()
        self._name = ""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        scores = trainer.progress_bar_metrics
        print_progress(f"{_epoch(trainer)}: {', '.join(f'{name} {value:.4g}' for name, value in scores.items())}")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._bar.stop()


def _epoch(trainer: pl.Trainer) -> str:
    last = f" of {trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
    return f"epoch {trainer.current_epoch + 1}{last}"

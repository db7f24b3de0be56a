"""What training writes: the best model, the last state, from which a run resumes exactly, and the log, `log.csv`."""

import csv
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from vlrnn.data.loaders import ResumableLoader, fold_in_rank
from vlrnn.errors import UserError, accessing, check_least
from vlrnn.files import replacing
from vlrnn.training.checkpoint import read_checkpoint


class RunLog(CSVLogger):
    """Lightning's CSV logger with the file name `log.csv`, in the run's folder; a resumed run appends to it."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, name="", version="")

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.log_dir) / "log.csv"

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _LogWriter(self.path)
        return self._experiment

    @rank_zero_only
    def forget(self, step: int) -> None:
        """Drop the rows of this step and later ones, which are repeated after resuming, and incomplete rows."""
        if self.path.is_file():
            columns, rows = _read_log(self.path)
            _write_log(self.path, columns, (row for row in rows if row["step"].isdigit() and int(row["step"]) < step))


class _LogWriter(ExperimentWriter):
    """Lightning's writer with another file name, which rewrites the file when its columns change."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path.parent))
        self.metrics_file_path = str(path)
        if path.is_file():  # of the same run, to be appended to
            self.metrics_keys, _ = _read_log(path)

    def save(self) -> None:
        with accessing(self.metrics_file_path, "written"):
            super().save()

    def _check_log_dir_exists(self) -> None:
        """Does nothing; Lightning's deletes the file of an earlier run here."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        _, rows = _read_log(Path(self.metrics_file_path))
        _write_log(Path(self.metrics_file_path), fieldnames, rows)


def _read_log(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows; missing cells of an incomplete row are empty."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        return list(reader.fieldnames or ()), list(reader)


def _write_log(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    with replacing(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


_STOP_CHECK_STEPS = 50  # between two synchronizations of a stop request on GPUs


class RecipeCheckpoint(ModelCheckpoint):
    """Writes `best.ckpt`, the best validation score, and `last.ckpt`, from which training resumes.

    Lightning's checkpoints are taken within a step, before the step is logged and after random numbers for the next
    batch were drawn. `last.ckpt` is taken between two steps: the step before, with its validation, is complete and
    logged, and nothing was drawn for the next one. A resumed run therefore draws the same random numbers and ends with
    bit-identical weights (one process, on a CPU).

    When one process is asked to stop, all processes stop at the same step.

    A run that resumes in its own folder, even if renamed, compares with the `best.ckpt` there; in another folder it
    starts without a best score.

    Args:
        monitor: the score that selects the best checkpoint; in a recipe by default that of the task.
        mode: whether `max` or `min` is better; by default that of the task's score; otherwise `min` of a loss, `max` of
            other scores.
        last_every_n_steps: interval at which `last.ckpt` is written within an epoch; it is also written at its end.
        verbose: print a line for each new best.
    """

    def __init__(
        self,
        monitor: str = "",
        mode: Literal["max", "min", ""] = "",
        last_every_n_steps: int = 1000,
        verbose: bool = False,
    ) -> None:
        check_least("checkpoint.last_every_n_steps", last_every_n_steps)
        names = {"filename": "best", "auto_insert_metric_name": False, "enable_version_counter": False}
        super().__init__(monitor=monitor, mode=mode or "max", verbose=verbose, **names)  # type: ignore[arg-type]
        self.last_every_n_steps = last_every_n_steps
        self._initial_random_states: dict[str, Any] | None = None
        self._stop_requested = False  # in this process
        self._stopping = False  # before the next step, in all processes
        self._loader: ResumableLoader | None = None
        self._between: dict[str, Any] | None = None  # the part of `last.ckpt` that Lightning does not store
        self._found: dict[str, Any] | None = None  # the same part of the checkpoint that this run resumes

    def keep_random_state(self) -> None:
        """Start training with the present states of the random generators. With several processes Lightning would reset
        them to the seed."""
        self._initial_random_states = _random_states()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self._initial_random_states is not None and trainer.world_size > 1:
            _set_random_states(self._initial_random_states)

    def request_stop(self) -> None:
        """Let training write `last.ckpt` between two steps, and end there with a KeyboardInterrupt."""
        self._stop_requested = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        # Lightning synchronizes all processes at every step about SIGTERM; `_any_stop_requested` does it less often.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        loader = trainer.train_dataloader
        if isinstance(loader, ResumableLoader):
            self._loader = loader
            loader.before_batch = lambda: self._before_batch(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, *more: Any) -> None:
        super().on_train_batch_start(trainer, *more)
        if self._stopping or (self._stop_requested and self._loader is None):
            raise KeyboardInterrupt

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        self._save_last(trainer)
        if self._stop_requested:
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        scores = sorted(trainer.callback_metrics)
        validated = any(each.startswith("val/") for each in scores)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            # EarlyStopping ignores a missing score, since a run may end before its first validation.
            if isinstance(callback, EarlyStopping) and validated and callback.monitor not in scores:
                raise UserError(f"early_stopping.monitor {callback.monitor}: no score; there are {', '.join(scores)}")

    def _before_batch(self, trainer: pl.Trainer) -> None:
        loop = trainer.fit_loop.epoch_loop
        if self._found is not None and self._loader is not None:
            loop._batches_that_stepped = self._found["batches_that_stepped"]
            self._loader.load_state_dict(self._found["loader"])
            _set_random_states(self._found["random"])
            self._found = None
            self._stopping = self._any_stop_requested(trainer)
            return  # this state is that of `last.ckpt`
        done = loop.batch_progress.current.completed
        if done % trainer.accumulate_grad_batches:
            return  # accumulated gradients are not part of a checkpoint
        self._stopping = self._any_stop_requested(trainer)
        due = done == 0 or trainer.global_step % self.last_every_n_steps == 0
        if trainer.global_step and (due or self._stopping):
            self._save_last(trainer)

    def _any_stop_requested(self, trainer: pl.Trainer) -> bool:
        if trainer.world_size == 1:
            return self._stop_requested
        device = trainer.strategy.root_device
        if device.type != "cpu" and trainer.global_step % _STOP_CHECK_STEPS:
            return False
        requested = torch.tensor(float(self._stop_requested), device=device)
        dist.all_reduce(requested, dist.ReduceOp.MAX)
        return bool(requested)

    def _save_last(self, trainer: pl.Trainer) -> None:
        if trainer.fast_dev_run or self._loader is None:  # type: ignore[attr-defined]
            return
        for logger in trainer.loggers:
            logger.save()
        self._between = {
            "batches_that_stepped": trainer.fit_loop.epoch_loop._batches_that_stepped,
            "loader": self._loader.state_dict(),
            "random": _random_states(),
        }
        self.last_model_path = self.format_checkpoint_name({}, self.CHECKPOINT_NAME_LAST)
        trainer.save_checkpoint(self.last_model_path)
        self._between = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Does nothing: the best score is read from `best.ckpt`, see `on_load_checkpoint`."""

    def _restore_best(self, trainer: pl.Trainer) -> None:
        """Take the best score from the `best.ckpt` in the folder of the checkpoint that is resumed, if that is the
        folder of this run."""
        folder = Path(str(trainer.ckpt_path)).parent
        if folder.resolve() != Path(str(self.dirpath)).resolve():
            return
        last, best = (self.format_checkpoint_name({}, name) for name in ("last", "best"))
        self.last_model_path = last if Path(last).is_file() else ""
        state = read_checkpoint(best)["callbacks"].get(self.state_key) if Path(best).is_file() else None
        if state is not None:  # otherwise it was chosen by another score
            self.best_model_path = self.kth_best_model_path = best
            self.best_model_score = self.kth_value = self.current_score = state["best_model_score"]
            self.best_k_models = {best: state["best_model_score"]}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._between is not None:
            checkpoint["between_steps"] = self._between

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn != "fit":
            return
        self._restore_best(trainer)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.state_key in checkpoint["callbacks"]:
                checkpoint["callbacks"][callback.state_key]["patience"] = callback.patience  # the recipe's
        self._found = checkpoint.get("between_steps")
        for logger in trainer.loggers:
            if isinstance(logger, RunLog):
                logger.forget(checkpoint["global_step"])


def _random_states() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (kind, torch.tensor(keys, dtype=torch.int64), *rest),
    }


def _set_random_states(states: dict[str, Any]) -> None:
    """Restore the states of all generators; `states` are those of the first process, others derive their own."""
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():  # otherwise another machine, and not bit-identical
        torch.cuda.set_rng_state_all(states["cuda"])
    version, inner, gauss = states["python"]
    random.setstate((version, tuple(inner), gauss))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    fold_in_rank()

"""The checkpoints that training leaves: the best model, and the point from which a run goes on as if it had never
ended."""

import random
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from vlrnn.data.loaders import ResumableLoader, fold_in_rank
from vlrnn.errors import UserError
from vlrnn.training.checkpoint import read_checkpoint
from vlrnn.training.run_log import RunLog

_SPARING = 50  # steps from one look at what GPUs agree on to the next: each time the processor waits for them


class RecipeCheckpoint(ModelCheckpoint):
    """Lightning's `best.ckpt`, of the highest score in validation, and `last.ckpt`, from which training goes on.

    Lightning's own points to go on from lie within a step, ahead of what is logged of it, and behind random numbers
    that were drawn for the next batch. This one lies between two steps: all that belongs to the step before, its
    validation with it, is done and logged, and nothing is drawn for the next. So a run that goes on from it draws the
    same numbers, and ends with the same weights, bit by bit (one process, on a CPU).

    Where one process is asked to end, all do, and at the same step: one that went on alone would wait for the others.

    A run that goes on in its own folder, whatever that is called now, has `best.ckpt` to beat; in another folder it
    has a best of its own.

    Args:
        monitor: the score by which the best is chosen; in a recipe, left out, the task's own.
        mode: `max` or `min`, the better; left out, what the task's own score says, of a loss `min`, of others `max`.
        last_every_n_steps: how often `last.ckpt` is written within an epoch; it also is at the end of each.
        verbose: tell of each best.
    """

    def __init__(
        self,
        monitor: str = "",
        mode: Literal["max", "min", ""] = "",
        last_every_n_steps: int = 1000,
        verbose: bool = False,
    ) -> None:
        if last_every_n_steps < 1:
            raise UserError(f"checkpoint.last_every_n_steps must be at least 1, not {last_every_n_steps}")
        super().__init__(
            filename="best",
            monitor=monitor,
            mode=mode or "max",
            verbose=verbose,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self.last_every_n_steps = last_every_n_steps
        self._begins: dict[str, Any] | None = None  # where random numbers stood
        self._asked = False  # this process, to end
        self._ends = False  # before the next step, as all of them
        self._loader: ResumableLoader | None = None
        self._between: dict[str, Any] | None = None  # what `last.ckpt` holds beside what Lightning keeps
        self._found: dict[str, Any] | None = None  # the same, of the checkpoint that this run goes on from

    def begin_here(self) -> None:
        """Let training go on from the random numbers as they stand, where Lightning would begin with others: it sets
        them back in each of several processes, and not in one alone."""
        self._begins = _random_states()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self._begins is not None and trainer.world_size > 1:
            _set_random_states(self._begins)

    def ask_to_end(self) -> None:
        """Have training write `last.ckpt` between two steps, and end there with a KeyboardInterrupt."""
        self._asked = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        # Lightning has all processes agree at every step whether one got SIGTERM, and wait for it; see `_any_asked`.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        loader = trainer.train_dataloader
        if isinstance(loader, ResumableLoader):
            self._loader = loader
            loader.before_batch = lambda: self._before_batch(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, *more: Any) -> None:
        super().on_train_batch_start(trainer, *more)
        if self._ends or (self._asked and self._loader is None):
            raise KeyboardInterrupt

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        self._save_last(trainer)
        if self._asked:
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        scores = sorted(trainer.callback_metrics)
        validated = any(each.startswith("val/") for each in scores)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            # Which waits for its score in silence, for a run may end ahead of its first validation.
            if isinstance(callback, EarlyStopping) and validated and callback.monitor not in scores:
                raise UserError(f"early_stopping.monitor {callback.monitor}: no score; there are {', '.join(scores)}")

    def _before_batch(self, trainer: pl.Trainer) -> None:
        loop = trainer.fit_loop.epoch_loop
        if self._found is not None and self._loader is not None:
            loop._batches_that_stepped = self._found["batches_that_stepped"]
            self._loader.load_state_dict(self._found["loader"])
            _set_random_states(self._found["random"])
            self._found = None
            self._ends = self._any_asked(trainer)
            return  # `last.ckpt` holds this already
        done = loop.batch_progress.current.completed
        if done % trainer.accumulate_grad_batches:
            return  # gradients are under way, which no checkpoint holds
        self._ends = self._any_asked(trainer)
        due = done == 0 or trainer.global_step % self.last_every_n_steps == 0
        if trainer.global_step and (due or self._ends):
            self._save_last(trainer)

    def _any_asked(self, trainer: pl.Trainer) -> bool:
        """Whether this process or another one was asked to end."""
        if trainer.world_size == 1:
            return self._asked
        device = trainer.strategy.root_device
        if device.type != "cpu" and trainer.global_step % _SPARING:
            return False
        asked = torch.tensor(float(self._asked), device=device)
        dist.all_reduce(asked, dist.ReduceOp.MAX)
        return bool(asked)

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
        """Nothing: the best score is that of `best.ckpt`, see `on_load_checkpoint`."""

    def _restore_best(self, trainer: pl.Trainer) -> None:
        """Take the best score from the `best.ckpt` beside the checkpoint that training goes on from, where that lies in
        the folder of this run."""
        folder = Path(str(trainer.ckpt_path)).parent
        if folder.resolve() != Path(str(self.dirpath)).resolve():
            return
        last, best = (self.format_checkpoint_name({}, name) for name in ("last", "best"))
        self.last_model_path = last if Path(last).is_file() else ""
        kept = read_checkpoint(best)["callbacks"].get(self.state_key) if Path(best).is_file() else None
        if kept is not None:  # else it was chosen by another score
            self.best_model_path = self.kth_best_model_path = best
            self.best_model_score = self.kth_value = self.current_score = kept["best_model_score"]
            self.best_k_models = {best: kept["best_model_score"]}

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
    """Where all random numbers stand, as plain data and tensors."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (kind, torch.tensor(keys, dtype=torch.int64), *rest),
    }


def _set_random_states(states: dict[str, Any]) -> None:
    """Go on from there; but each process of several from numbers of its own, as `states` are those of the first."""
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():  # else the run goes on elsewhere, and not bit by bit
        torch.cuda.set_rng_state_all(states["cuda"])
    version, inner, gauss = states["python"]
    random.setstate((version, tuple(inner), gauss))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    fold_in_rank()

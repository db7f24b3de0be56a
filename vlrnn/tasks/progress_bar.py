"""How far training or scoring has come: a bar on a terminal, and plain lines where stderr is none."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

from vlrnn.progress import Lines


class Bar(RichProgressBar):
    """Lightning's, on stderr. It shows the loss of every so many steps, as the log does: to read it is to wait for the
    GPU."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"stderr": True})
        self._shown: dict[str, int | str | float | dict[str, float]] = {}

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # which Lightning sets, and does not declare
        if not trainer.training or trainer.global_step % every == 0:
            self._shown = super().get_metrics(trainer, pl_module)
        return self._shown


class ProgressLines(Callback):
    """Tells of the batches of each epoch, and of each validation or test."""

    def __init__(self) -> None:
        self._lines: dict[str, Lines] = {}

    def _advance(self, what: str, total: float) -> None:
        if what not in self._lines:
            self._lines[what] = Lines(what, int(total), "batches")
        self._lines[what].advance(1)

    def _finish(self, what: str) -> None:
        if what in self._lines:
            self._lines.pop(what).finish()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._advance(_epoch(trainer), trainer.num_training_batches)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(_epoch(trainer))

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._advance("validating", sum(trainer.num_val_batches))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish("validating")

    def on_test_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._advance("testing", sum(trainer.num_test_batches))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish("testing")


def _epoch(trainer: pl.Trainer) -> str:
    last = f" of {trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
    return f"epoch {trainer.current_epoch + 1}{last}"

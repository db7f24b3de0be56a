"""What all tasks share of Lightning's steps: the division of summed losses, the optimizer, and from the predictions of
all processes to scores and files. The module is independent of what is predicted."""

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vlrnn.config import FORMAT, to_config
from vlrnn.data.batches import Batch
from vlrnn.data.records import AttentionMaps, Example, Id, Prediction
from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import Encoder
from vlrnn.nn.weights import digest
from vlrnn.progress import print_progress
from vlrnn.runs import scored, write_predictions, write_scores
from vlrnn.terminal import print_line
from vlrnn.training.compatibility import check_checkpoint
from vlrnn.training.evaluation import origin_of, print_with_baselines
from vlrnn.training.objectives.base import Loss, Objective, check_loss
from vlrnn.training.optimization import LossGuard, Optimization
from vlrnn.training.task_interface import TaskInterface


class Predictions(list[Prediction]):
    """Predictions of a batch, in the form that `Trainer.predict` accepts: Lightning calls `to` to move them to the CPU,
    and cannot change the fields of frozen records itself."""

    def to(self, device: torch.device, **_: Any) -> "Predictions":
        return self


class Task(TaskInterface):
    """The base of tasks, with the steps that all share: train on summed losses; predict; score what all processes
    predicted. See `TaskInterface` for what a task implements.

    Args:
        encoder: maps images to region features.
        optimization: optimiser and learning rate schedule.
    """

    def __init__(self, encoder: Encoder, optimization: Optimization) -> None:
        super().__init__()
        encoder.check_sizes()
        self.encoder = encoder
        self.optimization = optimization
        self.set_objective(Objective())
        self._since_step = torch.zeros(2)  # the loss's total and its words
        self._epoch_loss = [0.0, 0.0]  # the same, of the steps of the epoch but the latest
        self._latest: list[Tensor] = []  # of these steps: a GPU is not waited for at each
        self._validation = torch.zeros(2, dtype=torch.double)  # of a validation; on the CPU, which has doubles
        self._guard = LossGuard()
        self._predictions: dict[Id, Prediction] = {}
        self._attention: dict[Id, AttentionMaps] = {}
        self._examples: dict[Id, Example] = {}

    def set_objective(self, objective: Objective) -> None:
        """Take what training minimises, which is no part of the description of the model in checkpoints.

        Raises:
            UserError: this task cannot be trained with it.
        """
        if not isinstance(self, objective.task_type):
            names = type(objective).__name__, objective.task_type.__name__, type(self).__name__
            raise UserError("objective: {} is for tasks of the type {}, which {} is not".format(*names))
        self._modules.pop("objective", None)  # its weights come last, after those of the model
        self.objective = objective
        self.arguments = {name: each for name, each in self.arguments.items() if name != "objective"}

    def loss(self, batch: Batch) -> Loss:
        """The objective's loss of a batch, a sum and its count."""
        return self.objective.loss(self, batch)

    def _checked_loss(self, batch: Batch) -> Loss:
        loss = self.loss(batch)
        own = type(self).loss is not Task.loss
        return check_loss(loss, type(self if own else self.objective))

    # Training.

    def setup(self, stage: str) -> None:
        # Lightning would go through all that batches hold, which it cannot do with records, to convert what the encoder
        # converts itself.
        self.trainer.precision_plugin.convert_input = lambda data: data  # type: ignore[method-assign]
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if stage == "fit":
            self.objective.setup(self, data)
        elif data is not None:  # texts are encoded by the words of the model, not by those of the data
            for name in filter(partial(hasattr, self), self.data_arguments):
                setattr(data, name, getattr(self, name))

    def on_train_start(self) -> None:
        norms = [each for each in self.modules() if isinstance(each, _BatchNorm) and each.training]
        if self.trainer.world_size > 1 and not all(isinstance(each, nn.SyncBatchNorm) for each in norms):
            print_progress(
                "batch norm computes its statistics over the images of each process alone; on GPUs "
                "--trainer.sync_batchnorm true computes them over all"
            )
        self._epoch_began = time.monotonic()  # an epoch that is resumed in its middle has no start of its own

    def on_train_epoch_start(self) -> None:
        self._epoch_began = time.monotonic()

    def on_train_epoch_end(self) -> None:
        """Log the mean loss of the epoch, over words, and how long it took, its validation with it."""
        total, words = self._add_latest()
        self._epoch_loss = [0.0, 0.0]
        if words:
            self.log("train/loss", total / words, sync_dist=True, batch_size=1)
        self.log("train/seconds", time.monotonic() - self._epoch_began, sync_dist=True)

    def _add_latest(self) -> list[float]:
        """The loss of the epoch up to here, added step by step, so that one that goes on comes to the same."""
        for step in torch.stack(self._latest).tolist() if self._latest else ():
            self._epoch_loss = [sum(pair) for pair in zip(self._epoch_loss, step, strict=True)]
        self._latest = []
        return self._epoch_loss

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        loss = self._checked_loss(batch)
        if batch.repeated:
            loss = Loss(loss.total * 0, loss.count * 0)
        for name, value in loss.logged.items():
            self.log(f"train/{name}", value, prog_bar=True, batch_size=1)
        self._guard.watch(self.global_step, [each.id for each in batch.examples], loss.total, self)
        self._since_step = self._since_step.to(self.device) + torch.stack([loss.total.detach(), loss.count])
        return loss.total

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Turn the gradient of a sum into that of the mean over all words, of all processes, since the last step. This
        comes before clipping. Lightning has divided the sum by the number of accumulated batches, and averaged over
        processes."""
        total, words = sums = self._over_processes(self._since_step)
        self._latest.append(sums)
        self._since_step = torch.zeros_like(self._since_step)
        self.log("train/loss", total / words.clamp(min=1), prog_bar=True, batch_size=1)
        factor = self.trainer.accumulate_grad_batches * self.trainer.world_size / words.clamp(min=1)
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)

    def _over_processes(self, sums: Tensor) -> Tensor:
        if self.trainer.world_size > 1:
            dist.all_reduce(sums)
        return sums

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.optimization.optimizer(self, self.encoder)
        try:
            steps = self.trainer.estimated_stepping_batches
        except ValueError as fault:  # of how often is validated: Lightning checks that only now
            raise UserError(f"trainer: {' '.join(str(fault).split())}") from None
        if not math.isfinite(steps):
            raise UserError("trainer.max_epochs or max_steps must be set: the learning rate decays to zero at the end")
        schedule = self.optimization.schedule(optimizer, int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # Validation and test.

    def _collect(self, batch: Batch) -> list[Prediction]:
        predictions = self.predict(batch)
        if [getattr(each, "id", None) for each in predictions or ()] != [example.id for example in batch.examples]:
            raise UserError(
                f"{type(self).__name__}.predict must return a list with a Prediction for each example of the batch, in "
                "the same order and with the same id"
            )
        self._predictions |= {each.id: each for each in predictions}
        if self.trainer.state.fn != "fit":  # in training, attention maps are not stored
            self._attention |= {each.id: each for each in self.attention_maps(batch, predictions)}
        for example in batch.examples:
            self._keep(example, self._examples)
        return predictions

    def _keep(self, example: Example, examples: dict[Id, Example]) -> None:
        """Add an example; it may come twice, but no other by its id."""
        if examples.setdefault(example.id, example) != example:
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            place = "" if data is None else f"{data.root}: "
            raise UserError(f"{place}two examples of a split have the id {example.id!r}; give each its own id")

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        batch = self.with_features(batch)
        self._collect(batch)
        loss = self._checked_loss(batch)
        self._validation = self._validation + torch.stack([loss.total, loss.count]).cpu()

    def test_step(self, batch: Batch, batch_index: int) -> None:
        self._collect(self.with_features(batch))

    def predict_step(self, batch: Batch, batch_index: int) -> Predictions:
        return Predictions(self.predict(self.with_features(batch)))

    def on_validation_epoch_end(self) -> None:
        total, words = self._over_processes(self._validation.float().to(self.device))
        self._validation = torch.zeros_like(self._validation)
        if words:
            self.log("val/loss", total / words, sync_dist=True, batch_size=1)
        self._evaluate("val")

    def on_test_epoch_end(self) -> None:
        self._evaluate("test")

    def _evaluate(self, split: str) -> None:
        """Score the predictions of all processes, and but in training or a fast dev run write them into the run folder,
        predictions ahead of scores, which may fail or take long."""
        predictions, attention, examples = self._gather()
        if self.trainer.sanity_checking:
            return
        run = Path(self.trainer.default_root_dir)
        keep = self.trainer.state.fn != "fit" and not self.trainer.fast_dev_run  # type: ignore[attr-defined]
        origin = origin_of(self.trainer, split) if keep and self.trainer.is_global_zero else None
        if origin:
            if part := origin["settings"].get("part"):
                print_line(f"{split}: only a part of it is scored: {part}")
            write_predictions(run, split, origin, list(predictions.values()), attention)
        place = f"its predictions are in {run}/splits/{split}/predictions.jsonl"
        try:
            result = self.score(predictions, examples)
        except Exception as fault:
            if keep and isinstance(fault, UserError):
                raise UserError(f"{fault}; {place}") from None
            if keep:
                fault.add_note(place)
            raise
        if not isinstance(result, dict) or not {"scores", "settings"} <= result.keys():
            raise UserError(f"{type(self).__name__}.score must return a dict with the keys scores and settings")
        self._log_scores(split, result)
        items = result.pop("items", ())
        if origin:
            result = {**result, **origin, "settings": {**origin["settings"], **result["settings"]}}
            write_scores(run, split, result, scored(list(examples.values()), items))
            for line in result.get("notes", ()):
                print_progress(line)
            if result["scores"]:
                print_with_baselines(run, result)
            else:
                print_line(f"{split}: not scored: {result['settings']['not_computed']}; {place}")

    def _log_scores(self, split: str, result: dict[str, Any]) -> None:
        for name, score in result["scores"].items():
            value = score.get("value") if isinstance(score, dict) else score
            if value is not None:  # those of parts of the questions stand in the results alone
                # Every process has computed the same; the mean over them is that.
                self.log(f"{split}/{name}", value, prog_bar=name == self.monitor, sync_dist=True, batch_size=1)

    def _gather(self) -> tuple[dict[Id, Prediction], list[AttentionMaps], dict[Id, Example]]:
        """What all processes predicted since this was called last, merged by id, with its examples, in one order."""
        collected = (self._predictions, self._attention, self._examples)
        gathered: list[Any] = [collected]
        if self.trainer.world_size > 1:
            gathered = [None] * self.trainer.world_size
            dist.all_gather_object(gathered, collected)
        self._predictions, self._attention, self._examples = {}, {}, {}
        predictions = {id: each for rank, *_ in gathered for id, each in rank.items()}
        attention = {id: each for _, rank, _ in gathered for id, each in rank.items()}
        examples: dict[Id, Example] = {}
        for *_, rank in gathered:
            for example in rank.values():
                self._keep(example, examples)
        order = sorted(examples, key=str)
        maps = [attention[id] for id in order if id in attention]
        return {id: predictions[id] for id in order}, maps, {id: examples[id] for id in order}

    # Checkpoints carry all that is needed to build the task again; see vlrnn.training.checkpoint.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._guard.check(self.global_step, self)  # nothing that has diverged is kept
        checkpoint["epoch_loss"] = self._add_latest()
        for state in checkpoint.get("lr_schedulers", ()):  # older torch has a function in that of SWALR
            state.pop("anneal_func", None)
        saved = digest(checkpoint["state_dict"])  # which may not be ours: callbacks have put averaged weights there
        described = {"task": to_config(self), "objective": to_config(self.objective)}
        checkpoint["vlrnn"] = {"format": FORMAT, **described, "digest": saved}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another model, or of other words, before they are loaded."""
        resumes = self.trainer.state.fn == "fit"
        check_checkpoint(checkpoint, to_config(self), to_config(self.objective), self.state_dict(), resumes)
        self._epoch_loss = list(checkpoint.get("epoch_loss", self._epoch_loss))

"""Options of Lightning's Trainer that recipes refuse, and what replaces them. Others work as Lightning documents."""

import importlib
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

from pytorch_lightning import callbacks

from vlrnn.errors import UserError

_STRATEGIES = (
    "ddp_spawn",
    "ddp_fork",
    "ddp_notebook",
    "fsdp",
    "FSDP",
    "deepspeed",
    "DeepSpeed",
    "ModelParallel",
    "xla",
)
"""How the names of those begin that are refused."""

_NOTHING = "0 leaves no training data; vlrnn validate scores a model"

_REFUSED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "accumulate_grad_batches": (lambda value: value < 1, "must be at least 1"),
    "enable_checkpointing": (
        lambda value: value is False,
        "checkpoints are needed to score and resume a run; --trainer.fast_dev_run true writes nothing",
    ),
    "barebones": (bool, "writes neither a log nor a checkpoint; --trainer.fast_dev_run true tests a recipe"),
    "overfit_batches": (bool, "--overfit N trains and validates on N examples"),
    "reload_dataloaders_every_n_epochs": (bool, "data never change in a run, and resuming needs their order"),
    "limit_predict_batches": (lambda value: value is not None, "vlrnn predict writes those of the whole split"),
    "model_registry": (lambda value: value is not None, "vlrnn export writes a model for the hub"),
    "use_distributed_sampler": (lambda value: value is False, "each process always has its own share"),
    "limit_train_batches": (lambda value: value == 0, _NOTHING),
    "limit_val_batches": (lambda value: value == 0, "0 leaves no score for selecting the best model"),
    "limit_test_batches": (lambda value: value == 0, "0 leaves no data to score"),
    "max_epochs": (lambda value: value == 0, _NOTHING),
    "max_steps": (lambda value: value == 0, _NOTHING),
    "gradient_clip_val": (lambda value: value is not None and value < 0, "must not be negative; null: no clipping"),
    "strategy": (
        lambda value: _class_name(value).startswith(_STRATEGIES),
        "auto or ddp: each process has the whole model, and is newly started",
    ),
}
"""Option of the Trainer -> when it is refused, and why."""

_CALLBACKS: dict[type, str] = {
    callbacks.LearningRateFinder: "the learning rate is the recipe's; vlrnn study sweep finds a good one",
    callbacks.BatchSizeFinder: "the batch size is the recipe's; test some with --trainer.fast_dev_run true",
    callbacks.GradientAccumulationScheduler: (
        "the schedule of the learning rate needs one number for the whole run: --trainer.accumulate_grad_batches"
    ),
    callbacks.BaseFinetuning: "--model.init_args.encoder.init_args.finetune_from selects what a CNN trains",
    callbacks.ModelPruning: "no checkpoint holds pruned weights such that they can be loaded",
    callbacks.OnExceptionCheckpoint: "a run that fails leaves last.ckpt; --ckpt_path last resumes from it",
    callbacks.BasePredictionWriter: "vlrnn predict writes those of the whole split",
}
"""Callback -> why it is refused."""


def refuse_options(trainer: Mapping[str, Any]) -> None:
    """Refuse options of the Trainer that would have no effect here.

    Raises:
        UserError: one is given; the message names its replacement.
    """
    for name, (refused, reason) in _REFUSED.items():
        if name in trainer and refused(trainer[name]):
            raise UserError(f"trainer.{name} {_class_name(trainer[name])}: {reason}")
    for unit in ("epochs", "steps"):
        least, most = trainer[f"min_{unit}"] or 0, trainer[f"max_{unit}"]
        if most is not None and 0 <= most < least:
            raise UserError(f"trainer.min_{unit} {least}: is more than trainer.max_{unit}, {most}")
    given = trainer["callbacks"]
    for each in given if isinstance(given, Iterable) else [given]:
        _refuse_callback(each)


def watch_score(callback: str, settings: MutableMapping[str, Any], own: str, best: str) -> None:
    """Set the score that a callback watches to the task's own, if no other is named, and its mode: a lower loss is
    better.

    Args:
        callback: its name, for errors.
        settings: of it; `monitor` and `mode` are empty where they are left out.
        own: the task's own score.
        best: `max` or `min`, its better.

    Raises:
        UserError: `mode` contradicts the direction of a loss, or of the task's own score.
    """
    settings["monitor"] = settings["monitor"] or own
    watched = settings["monitor"]
    mode = best if watched == own else "min" if watched.endswith("loss") else settings["mode"] or "max"
    if settings["mode"] not in ("", mode):
        raise UserError(
            f"{callback}.mode {settings['mode']}: for {watched}, {mode} is better; "
            f"to use another score, set {callback}.monitor"
        )
    settings["mode"] = mode


def _refuse_callback(callback: Any) -> None:
    if not isinstance(callback, Mapping) and not hasattr(callback, "class_path"):
        return
    module, _, name = callback["class_path"].rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    for base, reason in _CALLBACKS.items():
        if issubclass(kind, base):
            raise UserError(f"trainer.callbacks {name}: {reason}")
    arguments = callback.get("init_args") or {}
    if issubclass(kind, callbacks.ModelCheckpoint) and (
        arguments.get("save_last") or arguments.get("filename") in ("best", "last")
    ):
        raise UserError(f"trainer.callbacks {name}: best.ckpt and last.ckpt are the run's own")


def _class_name(value: Any) -> str:
    """What to call the value of an option: a class by its name, anything else as it is."""
    path = value.get("class_path") if hasattr(value, "get") else None
    return path.rpartition(".")[2] if isinstance(path, str) else str(value)


def silence_lightning() -> None:
    """Silence messages of Lightning about itself, and warnings of what is intended here."""
    for text in (
        ".*does not have many workers.*",
        "LightningCLI.s args parameter.*",
        "Experiment logs directory .* exists and is not empty",
        "Checkpoint directory .* exists and is not empty",
        "Found .* in eval mode at the start of training",
        "\\s*Unable to serialize instance",  # in what Lightning writes for itself; ours leaves it out
        "SWA is currently only supported every epoch",  # it puts a schedule of its own in the place of ours
        ".*loading a checkpoint outside the 'fit' stage",  # of averaged weights, which the checkpoint holds
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*training batches .* smaller than the logging interval.*",  # the log has a line for each epoch as well
        ".*configure_optimizers` returned `None`.*",  # a baseline that counts has nothing to move, no loss,
        ".*training_step` returned `None`.*",
        ".*parameters` is an empty generator.*",  # and no gradient
    ):
        warnings.filterwarnings("ignore", text)
    for name in (
        "pytorch_lightning.utilities.rank_zero",
        "pytorch_lightning.trainer.connectors.checkpoint_connector",  # of pickles, which vlrnn never reads
        "lightning_fabric.utilities.seed",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)

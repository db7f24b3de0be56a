"""Recipes: a YAML file, and flags over it, that say which task to train on which data and how; Lightning's command line
runs them.

The YAML recipe and the flags are one: every option of the Trainer, the task and the data is a key of the recipe and
a flag.
"""

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ProgressBar,
)
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities import rank_zero_only

from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.text_stream import TextStream
from vlrnn.errors import UserError
from vlrnn.files import read_text
from vlrnn.progress import is_told
from vlrnn.runs import result_files
from vlrnn.tasks.base import Task
from vlrnn.tasks.checkpoint import AnyPart, load_part
from vlrnn.tasks.faults import as_told
from vlrnn.tasks.progress_bar import Bar, ProgressLines
from vlrnn.tasks.question_answering import QuestionAnswering
from vlrnn.tasks.resuming import Checkpoints
from vlrnn.tasks.run_folder import LastWord, PlainCheckpoints, RunConfig, cluster, loggers
from vlrnn.text.answer_set import AnswerPrior, AnswerSet
from vlrnn.text.units import Units
from vlrnn.text.vocabulary import Vocabulary


class RecipeCLI(LightningCLI):
    """LightningCLI with the run folder of vlrnn: `--trainer.default_root_dir` holds all that a run leaves."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--overfit", type=int | None, help="learn so many examples of train by heart, and validate with the same"
        )
        parser.link_arguments("overfit", "data.overfit")
        parser.link_arguments("data", "model.init_args.vocabulary", self._vocabulary, apply_on="instantiate")
        parser.link_arguments("data", "model.init_args.units", self._units, apply_on="instantiate")
        parser.link_arguments("data", "model.init_args.answers", self._answers, apply_on="instantiate")
        parser.link_arguments("data", "model.init_args.prior", self._prior, apply_on="instantiate")
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.set_defaults(
            {
                "checkpoint.mode": "max",
                "checkpoint.filename": "best",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.enable_version_counter": False,
                "early_stopping.monitor": "",
                "early_stopping.mode": "max",
                "early_stopping.patience": 5,
                "early_stopping.strict": False,  # a run may end ahead of its first validation
                "seed_everything": 0,
                "trainer.default_root_dir": "runs/latest",
                "trainer.num_sanity_val_steps": 0,
                "trainer.gradient_clip_val": 5.0,
            }
        )

    def _known(self, name: str, expected: type[AnyPart]) -> AnyPart | None:
        """A part of the checkpoint that is scored."""
        return load_part(self.config[self.subcommand]["ckpt_path"], self._task, name, expected)

    def _vocabulary(self, data: VisionLanguageData | TextStream) -> Vocabulary:
        """The words of the training split; of a checkpoint that is scored its own, whatever it is scored on."""
        self._check_kind(data)
        if self.subcommand in ("validate", "test"):
            known = self._known("vocabulary", Vocabulary)
            data.vocabulary = known or data.vocabulary
        return data.vocabulary

    def _units(self, data: VisionLanguageData | TextStream) -> Units | None:
        """What a running text is read in; of a checkpoint that is scored its own."""
        if not isinstance(data, TextStream):
            return None
        if self.subcommand in ("validate", "test"):
            known = self._known("units", Units)
            data.units = known or data.units
        return data.units

    def _check_kind(self, data: VisionLanguageData | TextStream) -> None:
        answers = issubclass(self._task, QuestionAnswering)
        if answers != data.asks:
            wants, holds = ("questions", "captions") if answers else ("captions", "questions")
            raise UserError(f"{data.root}: holds {holds}, where {self._task.__name__} is for {wants}")

    def _answers(self, data: VisionLanguageData | TextStream) -> AnswerSet | None:
        """The answers of the training split that a classifier chooses from; of a checkpoint that is scored its own."""
        if isinstance(data, TextStream) or not data.asks:
            return None
        if self.subcommand in ("validate", "test"):
            return self._known("answers", AnswerSet)
        return data.answers

    def _prior(self, data: VisionLanguageData | TextStream) -> AnswerPrior | None:
        """How often which answer is right in the training split; of a checkpoint that is scored its own, if it has
        any."""
        if isinstance(data, TextStream) or not data.asks:
            return None
        if self.subcommand in ("validate", "test"):
            return self._known("prior", AnswerPrior)
        return data.prior

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        settings = self._get(self.config_init, "trainer")
        callbacks = [*(settings["callbacks"] or []), LastWord()]
        own_bar = any(isinstance(each, ProgressBar) for each in callbacks)
        if settings["enable_progress_bar"] is not False and not own_bar:
            bar = is_told() and sys.stderr.isatty()
            callbacks += [Bar()] if bar else [ProgressLines()] if is_told() else []
            kwargs["enable_progress_bar"] = bar
        if self.subcommand != "fit":  # the log tells of training
            kwargs["logger"] = False
        elif settings["logger"] is not False:
            kwargs["logger"] = loggers(settings["default_root_dir"], settings["logger"])
            callbacks.append(LearningRateMonitor())
        plugins = [*(settings["plugins"] or []), PlainCheckpoints()]
        plugins += cluster(plugins)
        return super().instantiate_trainer(callbacks=callbacks, plugins=plugins, **kwargs)

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning looks here for options in the checkpoint, where ours keep none."""

    def before_fit(self) -> None:
        for callback in self.trainer.checkpoint_callbacks:
            if isinstance(callback, Checkpoints):
                callback.begin_here()
        self._clear()

    @rank_zero_only
    def _clear(self) -> None:
        """A run that starts anew leaves nothing of one before it, which could be taken for its own."""
        if self._get(self.config_init, "ckpt_path") is None and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            run = Path(self.trainer.default_root_dir)
            results = (run / "log.csv", *run.glob("probes/*.json"), *result_files(run))
            for stale in (*results, *(run / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))):
                stale.unlink(missing_ok=True)

    def before_instantiate_classes(self) -> None:
        """Checkpoints are compared by the task's own score, where no other is named."""
        settings = self.config[self.subcommand] if self.subcommand else self.config
        self._task = find_task(settings["model"]["class_path"])
        if (batches := settings["trainer"]["accumulate_grad_batches"]) < 1:
            raise UserError(f"trainer.accumulate_grad_batches must be at least 1, not {batches}")
        for callback in ("checkpoint", "early_stopping"):
            if not settings[callback]["monitor"]:
                settings[callback]["monitor"] = f"val/{self._task.headline}"
                settings[callback]["mode"] = self._task.best
        if self.subcommand:
            checkpoints = Path(settings["trainer"]["default_root_dir"]) / "checkpoints"
            settings["ckpt_path"] = self._checkpoint(checkpoints, settings["ckpt_path"])

    def _checkpoint(self, folder: Path, named: str | None) -> str | None:
        """The checkpoint to begin with: `last` is that of the run, if there is one yet. Scoring is of the run's best
        where none is named, never of a model that learnt nothing."""
        last, best = folder / "last.ckpt", folder / "best.ckpt"
        if self.subcommand == "fit":
            return (str(last) if last.is_file() else None) if named == "last" else named
        if named is None and not best.is_file():
            raise UserError(f"no checkpoint to score: name one with --ckpt_path (there is no {best})")
        return named or str(best)


def _hush() -> None:
    """Silence what Lightning tells of itself, and of what is meant here."""
    for text in (
        ".*does not have many workers.*",
        "LightningCLI.s args parameter.*",
        "Experiment logs directory .* exists and is not empty",
        "Checkpoint directory .* exists and is not empty",
        "Found .* in eval mode at the start of training",
        "The dirpath has changed from",  # what is scored, or learnt further, may have another run folder
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


def _read_recipes(arguments: Sequence[str]) -> list[dict[str, Any]]:
    """Read the recipes that are named ahead of jsonargparse, whose errors do not say in which file they are."""
    recipes = []
    for name, value in _flags(arguments):
        if name in ("--config", "-c"):
            try:
                recipe = yaml.safe_load(read_text(value))
            except yaml.MarkedYAMLError as fault:
                line = fault.problem_mark.line + 1 if fault.problem_mark else 1
                raise UserError(f"{value}:{line}: not YAML: {fault.problem}") from None
            except yaml.YAMLError as fault:
                raise UserError(f"{value}: not YAML: {' '.join(str(fault).split())}") from None
            if not isinstance(recipe, dict):
                raise UserError(f"{value}: not a recipe: expected keys and values")
            recipes.append(recipe)
    return recipes


def _flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The flags among arguments, each with what stands behind it, or behind its equals sign."""
    for flag, value in zip_longest(arguments, arguments[1:], fillvalue=""):
        name, equals, own = flag.partition("=")
        yield name, own if equals else value


def find_task(path: str) -> type[Task]:
    """The class of a task, by its path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _data_of(recipes: Sequence[dict[str, Any]], arguments: Sequence[str]) -> type[pl.LightningDataModule]:
    """What the task that is named learns from. Its options are flags and keys, which must be known ahead of reading
    any; where no task is found, reading them tells why."""
    models = [recipe.get("model") for recipe in recipes]
    named = [each.get("class_path") if isinstance(each, dict) else each for each in models]
    named += [value for name, value in _flags(arguments) if name in ("--model", "--model.class_path")]
    try:
        return find_task(next(path for path in reversed(named) if path)).data
    except (StopIteration, ImportError, AttributeError, ValueError):
        return Task.data


@contextmanager
def _denormals_as_zero() -> Iterator[None]:
    """Recurrences make numbers near to nothing, on which processors are many times slower than on zero."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_denormals_as_zero()
def run_recipe(command: str, arguments: Sequence[str]) -> None:
    """Run `fit`, `validate`, `test` or `cache` with command line arguments.

    Raises:
        UserError: an unknown key, a value that does not fit, or whatever the parts find wrong.
    """
    _hush()
    data = _data_of(_read_recipes(arguments), arguments)
    subcommand = [] if command == "cache" else [command]
    try:
        cli = RecipeCLI(
            Task,
            data,
            subclass_mode_model=True,
            args=[*subcommand, *arguments],
            run=bool(subcommand),
            save_config_callback=RunConfig,
            parser_kwargs={"exit_on_error": False, "prog": f"vlrnn {command}"},
        )
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt):  # which Lightning leaves as if it were a fault
            raise KeyboardInterrupt from None
        raise
    except Exception as fault:
        told = as_told(fault, __name__)
        if told is fault:
            raise
        raise told from None
    if command == "cache":
        if not isinstance(cli.datamodule, VisionLanguageData):
            raise UserError(f"{cli.datamodule.root}: a text, of which nothing is to be encoded ahead of training")
        cli.datamodule.make_cache(cli.model.encoder, cli.datamodule.splits, cli.trainer.strategy.root_device)

"""Recipes: a YAML file, and flags over it, that define task, data and training; Lightning's command line
runs them.

The YAML recipe and the flags are one: every option of the Trainer, the task and the data is a key of the recipe and
a flag.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentError
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from vlrnn.config import to_config
from vlrnn.errors import UserError
from vlrnn.progress import is_shown, print_progress
from vlrnn.training.callbacks import (
    GracefulInterrupt,
    ProgressLine,
    ProgressLines,
    RunConfig,
    SafeCheckpointIO,
    cluster,
    loggers,
)
from vlrnn.training.checkpoint import load_parts, note_trust, read_checkpoint
from vlrnn.training.compatibility import check_checkpoint
from vlrnn.training.error_messages import mistyped, refuse_linked, to_user_error
from vlrnn.training.help import set_purposes
from vlrnn.training.initial_weights import add_init_from, checked_init_from, init_from
from vlrnn.training.module import Task
from vlrnn.training.recipes import import_named, locate_recipes, plain_recipe, read_recipes, task_class
from vlrnn.training.resuming import RecipeCheckpoint
from vlrnn.training.run_folder import leave_weights_out, scored_checkpoint
from vlrnn.training.run_start import NothingToDo, RunStart, starting_point
from vlrnn.training.trainer_options import refuse_options, silence_lightning, watch_score
from vlrnn.trust import add_trust, checked_trust


class RecipeCLI(LightningCLI):
    """LightningCLI with the run folder of vlrnn: `--trainer.default_root_dir` holds all that a run leaves."""

    def __init__(
        self, task: type[Task], *args: Any, command: str, held: ExitStack, named: Sequence[str], **more: Any
    ) -> None:
        self._task = task
        self._linked: dict[str, Any] = {}  # from the data to the task's arguments
        self._command = command
        self._held = held  # the run folder, until this is closed
        self._trust = [*named]  # the classes outside vlrnn that the recipe names, and the packages of --trust
        self._init_from: str | None = None
        self._start: RunStart | None = None  # of a fit that leaves anything
        self._scored: dict[str, Any] | None = None  # the checkpoint, where the recipe names files of its weights
        super().__init__(Task, task.data_class, *args, **more)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The one that is run, with what of Lightning's is no flag: parsers of all would take longer than many runs."""
        given = {"model", "train_dataloaders", "val_dataloaders", "dataloaders", "datamodule", "weights_only"}
        return {self._command: given}

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "fit":
            parser.add_argument(
                "--overwrite",
                action="store_true",
                default=argparse.SUPPRESS,  # it is no key of the recipe: whoever uses that again does not mean it
                help="replace the run in the folder, which is moved to NAME.old-N first",
            )
            add_init_from(parser)
        set_purposes(parser, subcommand)
        return parser

    def _add_arguments(self, parser: LightningArgumentParser) -> None:
        super()._add_arguments(parser)
        set_purposes(parser)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        if "overfit" in signature(self._task.data_class).parameters:
            parser.add_argument(
                "--overfit", type=int | None, help="train on this number of examples of train, and validate on the same"
            )
            parser.link_arguments("overfit", "data.overfit")
        add_trust(parser, argparse.SUPPRESS)
        for name in self._task.data_arguments:
            parser.link_arguments("data", f"model.init_args.{name}", partial(self._from_data, name), "instantiate")
        parser.add_lightning_class_args(RecipeCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.set_defaults(
            {
                "early_stopping.monitor": "",
                "early_stopping.mode": "",
                "early_stopping.patience": 5,
                "early_stopping.strict": False,  # a run may end ahead of its first validation
                "seed_everything": 0,
                "trainer.default_root_dir": "runs/latest",
                "trainer.num_sanity_val_steps": 0,
                "trainer.gradient_clip_val": 5.0,
            }
        )

    def _from_data(self, name: str, data: Any) -> Any:
        """The value of one of the task's `data_arguments`; parts are those of the checkpoint that is scored."""
        if not self._linked:
            scored = self.config[self.subcommand]["ckpt_path"] if self.subcommand in ("validate", "test") else None
            parts = load_parts(scored, self._task, self._task.data_arguments, self._trust) if scored else {}
            self._linked = self._task.from_data(data, parts)
        return self._linked[name]

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        own = parser if self._command == "cache" else self._parser(self._command)
        refuse_linked(own, args)
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as fault:
            if line := mistyped(str(fault), own, args):
                raise UserError(line) from None
            raise

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        settings = self._get(self.config_init, "trainer")
        callbacks = [*([self._start] if self._start else []), *(settings["callbacks"] or []), GracefulInterrupt()]
        own_bar = any(isinstance(each, ProgressBar) for each in callbacks)
        if settings["enable_progress_bar"] is not False and not own_bar:
            callbacks += [(ProgressLine if sys.stderr.isatty() else ProgressLines)()] if is_shown() else []
            kwargs["enable_progress_bar"] = False
        if not is_shown():
            kwargs["enable_model_summary"] = False
        if self.subcommand != "fit":  # the log is that of training
            kwargs["logger"] = False
        elif settings["logger"] is not False:
            kwargs["logger"] = loggers(settings["default_root_dir"], settings["logger"])
            callbacks.append(LearningRateMonitor())
        plugins = [*(settings["plugins"] or []), SafeCheckpointIO()]
        plugins += cluster(plugins)
        return super().instantiate_trainer(callbacks=callbacks, plugins=plugins, **kwargs)

    def _add_instantiators(self) -> None:
        """None: Lightning's write the whole recipe out for `save_hyperparameters`, which no task of ours calls."""

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning searches the checkpoint for options, and those of vlrnn have none."""

    def before_fit(self) -> None:
        for callback in self.trainer.checkpoint_callbacks:
            if isinstance(callback, RecipeCheckpoint):
                callback.keep_random_state()
        if self._start:
            self._start.hold(self.trainer)
        if self._init_from:
            init_from(self.model, self._init_from, self._trust)
        note_trust(self.model)

    def before_instantiate_classes(self) -> None:
        """Checkpoints are compared by the task's own score, where no other is named."""
        settings = self.config[self.subcommand] if self.subcommand else self.config
        self._trust += checked_trust(settings.pop("trust", []))
        refuse_options(settings["trainer"])
        for callback in ("checkpoint", "early_stopping"):
            watch_score(callback, settings[callback], f"val/{self._task.monitor}", self._task.mode)
        run = Path(settings["trainer"]["default_root_dir"])
        if self.subcommand == "fit":
            self._begin(run, settings)
        elif self.subcommand:
            settings["ckpt_path"] = scored_checkpoint(run, settings["ckpt_path"])
            self._score(settings)

    def _score(self, settings: Any) -> None:
        """Have the model that is scored take all its weights from the checkpoint."""
        checkpoint = read_checkpoint(settings["ckpt_path"])
        if leave_weights_out(settings["model"], checkpoint["vlrnn"]["task"]):
            self._scored = checkpoint

    def after_instantiate_classes(self) -> None:
        """Fill in weights that were read from no file, ahead of the trainer: features are cached before it does so."""
        if self._scored:
            own = to_config(self.model), to_config(self.model.objective), self.model.state_dict()
            check_checkpoint(self._scored, *own, resumes=False)
            self.model.load_state_dict(self._scored["state_dict"])
            self._scored = None

    def _begin(self, run: Path, settings: Any) -> None:
        overwrite = settings.pop("overwrite", False)
        self._init_from = checked_init_from(settings)
        if settings["trainer"]["fast_dev_run"]:  # which leaves nothing
            if settings["ckpt_path"] is not None:
                raise UserError("--trainer.fast_dev_run tests a recipe from the start; leave --ckpt_path out")
            return
        named = settings["ckpt_path"] = starting_point(run, settings["ckpt_path"], overwrite)
        recipe, _ = plain_recipe(self._parser("fit"), settings)
        self._start = RunStart(run, self._held, recipe, begins=named is None, overwrite=overwrite)


@contextmanager
def _denormals_as_zero() -> Iterator[None]:
    """Recurrences make numbers near to nothing, on which processors are many times slower than on zero."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


class _ParserIsBuiltError(Exception):
    """Raised in place of parsing: the parser is all that is wanted."""


class _ParserOnly(RecipeCLI):
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        raise _ParserIsBuiltError(parser if self._command == "cache" else self._parser(self._command))


def recipe_parser(command: str, task: type[Task] = Task) -> LightningArgumentParser:
    """The parser of `fit`, `validate`, `test` or `cache` for a task."""
    silence_lightning()
    try:
        _run(_ParserOnly, command, [], task, [], ExitStack())
    except _ParserIsBuiltError as built:
        return built.args[0]
    raise AssertionError


def _run(
    cli: type[RecipeCLI],
    command: str,
    arguments: Sequence[str],
    task: type[Task],
    named: Sequence[str],
    held: ExitStack,
) -> RecipeCLI:
    subcommand = [] if command == "cache" else [command]
    return cli(
        task,
        command=command,
        held=held,
        named=named,
        subclass_mode_model=True,
        args=[*subcommand, *arguments],
        run=bool(subcommand),
        save_config_callback=RunConfig,
        parser_kwargs={"exit_on_error": False, "prog": f"vlrnn {command}"},
        auto_configure_optimizers=False,
    )


@_denormals_as_zero()
def run_recipe(command: str, arguments: Sequence[str]) -> RecipeCLI | None:
    """Run `fit`, `validate`, `test` or `cache` with command line arguments.

    Returns:
        what ran; None where training was over already.

    Raises:
        UserError: an unknown key, a value that does not fit, or whatever the parts find wrong.
    """
    silence_lightning()
    arguments = locate_recipes(arguments)
    recipes = read_recipes(arguments)
    named = import_named(recipes, arguments)
    task = task_class(recipes, arguments)
    try:
        with ExitStack() as held:
            cli = _run(RecipeCLI, command, arguments, task, named, held)
    except NothingToDo as reason:
        if line := str(reason):  # of the first process
            print_progress(line)
        return None
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt):  # which Lightning leaves as if it were a fault
            raise KeyboardInterrupt from None
        raise
    except Exception as fault:
        error = to_user_error(fault, __name__)
        if error is fault:
            raise
        raise error from None
    if command == "cache":
        if not hasattr(cli.datamodule, "make_cache"):
            raise UserError(f"{cli.datamodule.root}: a text, which needs no encoder outputs")
        cli.datamodule.make_cache(cli.model.encoder, cli.datamodule.splits, cli.trainer.strategy.root_device)
    return cli

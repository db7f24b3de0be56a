"""Start of `fit` in a run folder: a new run, a resumed run, or a refusal, so that no model and no result is lost."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EarlyStopping, Timer

from vlrnn.errors import UserError
from vlrnn.files import aside, clear_unfinished, move_aside, regular_file
from vlrnn.processes import alone
from vlrnn.progress import print_progress
from vlrnn.training.checkpoint import read_checkpoint
from vlrnn.yaml_text import read_yaml

_MODEL = ("checkpoints/best.ckpt", "checkpoints/last.ckpt")
_RESULTS = ("metrics.json", "predictions.jsonl", "splits/*/*", "probes/*.json")

OVERWRITE = "--overwrite replaces it (the old one is moved to {} first)"


def contents(run: Path) -> str:
    """The contents of a run folder that another run would overwrite: `a trained model`, `results`, or the empty
    string."""
    if any((run / name).is_file() for name in _MODEL):
        return "a trained model"
    return "results" if any(next(run.glob(pattern), None) for pattern in _RESULTS) else ""


def refusal(run: Path, more: str = "choose another --trainer.default_root_dir") -> str:
    """The error message for a folder that already has a run; names the flags to resume and to replace it."""
    ways = ["--ckpt_path last resumes it"] if (run / "checkpoints/last.ckpt").is_file() else []
    ways += [OVERWRITE.format(aside(run)), f"or {more}"]
    return f"{run}: holds {contents(run)}; {', '.join(ways)}"


_OBJECTIVE = "model.init_args.objective"  # whose change the task prints
_NO_CHANGE = ("ckpt_path", "trainer.default_root_dir")  # keys of a recipe that may differ on resuming


class NothingToDo(Exception):  # noqa: N818 (no error)
    """A resumed run is already complete by its recipe; the message names the reason and the flag to continue."""


def checkpoint_of(run: Path, named: str) -> str:
    """The path of a checkpoint given by its path, or as `best` or `last` of the run."""
    return str(run / "checkpoints" / f"{named}.ckpt") if named in ("best", "last") else named


def starting_point(run: Path, named: str | None, overwrite: bool) -> str | None:
    """The checkpoint to resume: the one that is named; for `last` that of the run, or None if it has none yet.

    Raises:
        UserError: the folder has a model or results that would be lost, or the checkpoint does not exist.
    """
    named = named if named in (None, "last") else checkpoint_of(run, named)
    if named not in (None, "last") and not Path(named).is_dir():
        regular_file(named)
    last = run / "checkpoints" / "last.ckpt"
    if overwrite:
        if named == "last" or (named and _within(run, named)):
            raise UserError(
                f"--overwrite starts again and moves {run} to {aside(run)}, --ckpt_path {named} resumes it; remove "
                "one of them"
            )
        return named
    if named == "last":
        if last.is_file():
            return str(last)
        named = None
        if contents(run) and not _ended_early(run):
            raise UserError(refusal(run, "name a checkpoint with --ckpt_path, or another --trainer.default_root_dir"))
    elif contents(run) and not (named and _within(run, named)):
        raise UserError(refusal(run))
    return named


def _within(run: Path, checkpoint: str) -> bool:
    return Path(checkpoint).resolve().is_relative_to(run.resolve())


def _ended_early(run: Path) -> bool:
    """Whether a run was killed before its first `last.ckpt`, and has only a first `best.ckpt`."""
    if contents(run) != "a trained model":
        return False
    states = read_checkpoint(run / "checkpoints" / "best.ckpt").get("callbacks", {}).values()
    return not any(isinstance(each, dict) and each.get("last_model_path") for each in states)


# Resuming.


def _finished(checkpoint: Mapping[str, Any], recipe: Mapping[str, Any], callbacks: Iterable[Callback]) -> str:
    """Why a recipe with these callbacks has no step left after a checkpoint, and the flag to continue; otherwise the
    empty string."""
    trainer, stopping = recipe["trainer"], recipe["early_stopping"]
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    steps = checkpoint["global_step"]
    for done, name, word in ((epochs, "max_epochs", "epoch"), (steps, "max_steps", "step")):
        if trainer[name] is not None and 0 <= trainer[name] <= done:
            return (
                f"is complete, at {word} {done} of {trainer[name]}; to continue, give a larger --trainer.{name}; "
                "--init_from instead of --ckpt_path starts again from its weights"
            )
    states = [(each, checkpoint["callbacks"].get(each.state_key)) for each in callbacks]
    for callback, state in states:
        limit = callback.time_remaining() if isinstance(callback, Timer) else None
        if state and limit is not None and state["time_elapsed"]["train"] >= limit:
            hint = "a longer --trainer.max_time" if trainer["max_time"] else "its Timer a longer duration"
            return f"has used its time; to continue, give {hint}"
    if epochs < (trainer["min_epochs"] or 0) or steps < (trainer["min_steps"] or 0):
        return ""
    for callback, state in states:
        if isinstance(callback, EarlyStopping) and state and state["wait_count"] >= callback.patience:
            ours = (callback.monitor, callback.mode) == (stopping["monitor"], stopping["mode"])
            hint = "a larger --early_stopping.patience" if ours else "its EarlyStopping a larger patience"
            return (
                f"stopped early, after epoch {epochs}: {callback.monitor} did not improve on "
                f"{float(state['best_score']):.4g} in {state['wait_count']} validations; to continue, give {hint}"
            )
    return ""


def _changes(before: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterator[str]:
    then, now = dict(_leaves(before)), dict(_leaves(recipe))
    for name in {**then, **now}:
        if then.get(name) != now.get(name) and name not in _NO_CHANGE and not name.startswith(_OBJECTIVE):
            yield f"{name} {_word(then.get(name))} -> {_word(now.get(name))}"


def _leaves(tree: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, f"{place}.{key}" if place else str(key))
    else:
        yield place, tree


def _word(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


# The folder.


def _read_from(recipe: Mapping[str, Any], run: Path) -> Iterator[tuple[str, str]]:
    """The keys of a recipe whose values are input files within the run folder, and these values."""
    for name, value in _leaves(recipe):
        path = isinstance(value, str) and ("/" in value or name == "data.root") and os.path.exists(value)
        written = name in ("trainer.default_root_dir", "data.cache")
        if path and not written and _within(run, value):
            yield name, value


class RunStart(Callback):
    """Locks a run folder for one `fit` and prepares it: an old run is moved aside if it is replaced, unfinished files
    of a killed run are removed. The first of several processes does this; if it fails, all processes end. On resuming,
    changes of the recipe are printed, and a run that is complete ends with NothingToDo.

    Args:
        run: the folder.
        held: owns the lock until it is closed.
        recipe: the whole recipe, as plain data.
        begins: True for a new run, False for one that is resumed in the folder.
        overwrite: move the contents of the folder aside.
    """

    def __init__(self, run: Path, held: ExitStack, recipe: Mapping[str, Any], *, begins: bool, overwrite: bool) -> None:
        self._run, self._held, self._recipe = run, held, recipe
        self._begins, self._overwrite = begins, overwrite
        self._before = contents(run)
        self._refused = ""

    def hold(self, trainer: pl.Trainer) -> None:
        """Lock the folder, and prepare it as soon as the processes are connected, before loggers open files in it.

        Raises:
            UserError: another process trains in the folder. With externally started processes, all of them raise it
                once they are connected, so that none waits.
        """
        if trainer.is_global_zero:
            try:
                self._lock()
            except UserError as fault:
                environment = getattr(trainer.strategy, "cluster_environment", None)
                others = trainer.num_nodes > 1 or (environment and environment.creates_processes_externally)
                if trainer.world_size == 1 or not others:
                    raise
                self._refused = str(fault)
        connect = trainer.strategy.setup_environment

        def setup_environment() -> None:
            connect()
            if trainer.is_global_zero and not self._refused:
                try:
                    self._prepare()
                except UserError as fault:
                    self._refused = str(fault)
            if refused := trainer.strategy.broadcast(self._refused):
                raise UserError(refused)

        trainer.strategy.setup_environment = setup_environment  # type: ignore[method-assign]

    def _lock(self) -> None:
        def refuse() -> None:
            raise UserError(
                f"{self._run}: another vlrnn fit trains in it; wait for it, or choose another folder with "
                "--trainer.default_root_dir"
            )

        self._held.enter_context(alone(self._run, refuse))

    def _prepare(self) -> None:
        if not self._overwrite and contents(self._run) != self._before:
            raise UserError(refusal(self._run))  # another process trained there while this one prepared its data
        if self._overwrite and contents(self._run):
            if Path.cwd().is_relative_to(os.path.realpath(self._run)):
                raise UserError(f"{self._run}: cannot be moved, as it is the current folder; start in another one")
            for name, path in _read_from(self._recipe, self._run):
                raise UserError(
                    f"{self._run}: cannot be moved, as {name} ({path}) is in it; move that out first, or "
                    "choose another --trainer.default_root_dir"
                )
            print_progress(f"{self._run}: the earlier run is now in {move_aside(self._run)}")
            self._lock()
        clear_unfinished([self._run, self._run / "checkpoints", self._run / "probes", *self._run.glob("splits/*")])
        if self._begins:
            (self._run / "log.csv").unlink(missing_ok=True)  # of a run killed before its first checkpoint

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Called after the checkpoint was checked to be of the recipe's model."""
        path = Path(str(trainer.ckpt_path))
        if reason := _finished(checkpoint, self._recipe, trainer.callbacks):  # type: ignore[attr-defined]
            raise NothingToDo(f"{path}: training {reason}" if trainer.is_global_zero else "")
        config = path.parent.parent / "config.yaml"  # of its run
        if trainer.is_global_zero and config.is_file():
            changes = list(_changes(read_yaml(config), self._recipe))
            if changes:
                print_progress(f"resuming from {path} with another recipe: {', '.join(changes)}")

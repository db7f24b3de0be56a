"""Help on recipes: the purposes of flags, and the arguments of classes for `vlrnn fit --help TOPIC`."""

import argparse
import importlib
from collections.abc import Sequence

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.cli import LightningArgumentParser

from vlrnn.errors import UserError, did_you_mean
from vlrnn.terminal import print_line
from vlrnn.training.module import Task
from vlrnn.training.recipes import find_task, locate_recipes, read_recipes, task_class
from vlrnn.training.resuming import RecipeCheckpoint
from vlrnn.trust import import_class, is_foreign

_PACKAGES = ("vlrnn.tasks", "vlrnn.nn", "vlrnn.generation", "vlrnn.training", "vlrnn.text", "vlrnn.data")
_GROUPS: dict[str, type] = {"trainer": pl.Trainer, "checkpoint": RecipeCheckpoint, "early_stopping": EarlyStopping}

_SCORED = "the checkpoint to score: a file, or best or last of the run folder; by default best"
_PURPOSES = {
    "--config": "a recipe: a YAML file, or the name of one; may be repeated",
    "--print_config": "print the resulting recipe",
    "--seed_everything": "the seed of random numbers; true: a random one",
    "--early_stopping.monitor": "the score to compare; by default the task's own",
    "--early_stopping.mode": "whether max or min is better; by default as --checkpoint.mode",
    "--early_stopping.patience": "stop after this number of validations without a better score",
    "--early_stopping.strict": "raise an error if there is no such score",
    "fit --ckpt_path": "resume a run from a checkpoint: a file, or last or best of the run folder",
    "validate --ckpt_path": _SCORED,
    "test --ckpt_path": _SCORED,
}
"""Help in place of Lightning's and jsonargparse's, of a flag or of a command's flag."""


def set_purposes(parser: LightningArgumentParser, command: str = "") -> None:
    """Put our help in the place of Lightning's and jsonargparse's."""
    for flag, action in parser._option_string_actions.items():
        action.help = _PURPOSES.get(f"{command} {flag}".lstrip(), action.help)


def public_classes() -> dict[str, str]:
    """Each class that vlrnn publishes: its name -> its path."""
    modules = map(importlib.import_module, _PACKAGES)
    return {name: f"{module.__name__}.{name}" for module in modules for name in getattr(module, "__all__", ())}


def find_class(name: str) -> type | None:
    """The class of a path, or the published one of a name; None if there is none."""
    path = name if "." in name else public_classes().get(name, "")
    try:
        found = import_class(path) if is_foreign(path) else find_task(path)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if isinstance(found, type) else None


def print_topic(command: str, topic: str, arguments: Sequence[str]) -> None:
    """Print the arguments of a class as flags.

    Args:
        command: for example `fit`.
        topic: `model`, `data`, `trainer`, `checkpoint`, `early_stopping`; or a class, by its name or path.
        arguments: of the command, whose recipes name the classes of `model` and `data`.

    Raises:
        UserError: there is no such class.
    """
    task = task_class(read_recipes(locate_recipes(arguments)), arguments)
    parser = LightningArgumentParser(usage=argparse.SUPPRESS, add_help=False)
    parser.description = None
    classes = public_classes()
    for path in classes.values():
        find_class(path)  # jsonargparse lists the subclasses that are imported
    if topic == "model" and task is Task:
        tasks = [path for path in classes.values() if path.startswith("vlrnn.tasks.")]
        print_line(f"--model takes the class of a task: {', '.join(tasks)}; or one of yours.")
        print_line(f"vlrnn {command} --help CLASS lists the arguments of one, and of any class that a recipe names.")
        return
    if topic in _GROUPS:
        parser.add_class_arguments(_GROUPS[topic], topic)
    elif topic == "data":
        parser.add_class_arguments(task.data_class, topic)
    else:
        found = task if topic == "model" else find_class(topic)
        if found is None:
            near = did_you_mean(topic, classes)
            topics = "trainer, model, data or a class, one of yours as module.Class"
            raise UserError(f"there is no class {topic}{near}; --help takes {topics}")
        parser.add_class_arguments(found, skip=set(getattr(found, "data_arguments", ())))
    parser.print_help()

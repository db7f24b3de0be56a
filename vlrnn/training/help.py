"""Help on recipes: the purposes of flags, the arguments of classes for `vlrnn fit --help TOPIC`, and the nearest name
for one that does not exist."""

import argparse
import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.cli import LightningArgumentParser

from vlrnn.errors import UserError, did_you_mean
from vlrnn.files import nested
from vlrnn.terminal import print_line
from vlrnn.training.module import Task
from vlrnn.training.recipes import find_task, flags, locate_recipes, read_recipes, task_class
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
            raise UserError(f"there is no class {topic}{near}; --help takes trainer, model, data or a class")
        parser.add_class_arguments(found, skip=set(getattr(found, "data_arguments", ())))
    parser.print_help()


# Names that do not exist.

_CLASS_PATH = re.compile(r"Problem with given class_path '([^']+)'")


def mistyped(reason: str, parser: LightningArgumentParser, arguments: Sequence[str]) -> str:
    """The line about a key, flag or class that does not exist, with the nearest that does.

    Args:
        reason: the message of jsonargparse.
        parser: of the command.
        arguments: of the command; a name that one of its recipes has is of that file.

    Returns:
        the line; empty for a message about anything else.
    """
    options, paths = list(parser._option_string_actions), _CLASS_PATH.findall(reason)
    if found := re.search(r"unrecognized arguments: (--[^\s=]+)", reason):
        line = f"unrecognized arguments: {found[1]}{did_you_mean(found[1], options)}"
    elif found := re.search(r"does not accept option '(data\.(?:class_path|init_args)[^']*)'", reason):
        line = f"there is no key {found[1]}: the data class is that of the task; its arguments are under data"
    elif found := re.search(r"does not accept option '([^']+)'", reason):
        line = f"there is no key {found[1]}{did_you_mean(found[1], [each.lstrip('-') for each in options])}"
    elif found := re.search(r"Option '([^']+)' is not accepted", reason):
        path = _CLASS_PATH.findall(reason[: found.start()])[-1]
        names = list(inspect.signature(find_class(path) or object).parameters)
        near = did_you_mean(found[1], names) or f"; it has {', '.join(names)}"
        line = f"{path} has no argument {found[1]}{near}"
    elif found := re.search(r'"([^"]+)":[^"]*Import path (\S+) does not correspond to a subclass of (\w+)', reason):
        line = f"{found[2]} is not a {found[3]}, which {found[1]} must be"
    elif paths and not find_class(paths[-1]):
        near = did_you_mean(paths[-1], public_classes().values()) or did_you_mean(paths[-1], public_classes())
        missing = re.search(r"No module named '[^']+'", reason)
        line = f"there is no class {paths[-1]}{near or (f' ({missing[0]})' if missing else '')}"
    else:
        return ""
    word = (found[1] if found else paths[-1]).rpartition(".")[2]
    given = list(flags(arguments))
    if any(word in (name.rpartition(".")[2], value.rpartition(".")[2]) for name, value in given):
        return line
    files = [value for name, value in given if name in ("--config", "-c")]
    recipes = zip(files, read_recipes(arguments), strict=True)
    return next((f"{file}: " for file, recipe in recipes if word in _words(recipe)), "") + line


def _words(recipe: Any) -> Iterator[str]:
    """The keys of a recipe and the names of its classes."""
    for each in nested(recipe):
        if isinstance(each, dict):
            yield from map(str, each)
        elif isinstance(each, str):
            yield each.rpartition(".")[2]

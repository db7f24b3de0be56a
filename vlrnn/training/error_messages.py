"""Faults of a run that the user can mend, and their messages of one line: keys and values of a recipe or a checkpoint
that cannot be used, and processes that were lost."""

import inspect
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch.distributed as dist
from jsonargparse import ArgumentError
from pytorch_lightning import callbacks
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from vlrnn.config import public_path
from vlrnn.errors import UserError, did_you_mean
from vlrnn.training.help import find_class, public_classes
from vlrnn.training.module import Task
from vlrnn.training.recipes import flags, read_recipes, task_class
from vlrnn.training.renamed import new_class, new_key

_GO_ON = "resume from the last checkpoint with --ckpt_path last"

_READERS = {
    "jsonargparse",
    "lightning_fabric",
    "packaging",
    "pytorch_lightning",
    "torch",
    "yaml",
    *sys.stdlib_module_names,
}
"""Packages that read the values of a recipe or of a checkpoint."""

_RESTORERS = {f"vlrnn.training.{name}" for name in ("optimization", "resuming", "run_start")}
"""Modules of vlrnn that read what a checkpoint holds besides weights."""


def to_user_error(fault: Exception, caller: str) -> Exception:
    """The error to print in place of `fault`: a `UserError` that caused it, if there is one; else, in one line, the
    message of a package that could not use a value of the recipe. A fault that passed through other code of vlrnn than
    the module `caller`, or through code of the user's, is returned as it is."""
    if _lost_another(fault):
        return UserError(
            f"another process of this training has stopped, and so this one stops; its output has the reason; {_GO_ON}"
        )
    if _lost_worker(fault):
        return UserError(
            "a process that loads examples was killed, perhaps for lack of memory; lower "
            f"data.num_workers or data.batch_size, and {_GO_ON}"
        )
    within: BaseException | None = fault
    while within is not None:
        if isinstance(within, UserError):
            return within
        within = within.__cause__ or within.__context__
    frames = [frame for frame, _ in traceback.walk_tb(fault.__traceback__)]
    restores = {frame.f_code.co_name for frame in frames} & {"_restore_modules_and_callbacks", "restore_training_state"}
    readers = _RESTORERS if restores else set()
    modules = {frame.f_globals.get("__name__", "") for frame in frames} - {caller, *readers}
    refused = isinstance(fault, (ArgumentError, MisconfigurationException))
    theirs = modules and {each.partition(".")[0] for each in modules} <= _READERS
    if isinstance(fault, OSError) or not (refused or theirs):
        return fault
    reason = f"{'' if refused else type(fault).__name__ + ': '}{' '.join(str(fault).split())}"
    if restores:
        return UserError(f"the checkpoint is broken, or training cannot resume from it: {reason}")
    return UserError(reason)


def _lost_another(fault: Exception) -> bool:
    """Whether the process lost the connection to another one of the same training."""
    lost = isinstance(fault, dist.DistError) or (isinstance(fault, RuntimeError) and "gloo" in str(fault))
    return lost and dist.is_initialized()


def _lost_worker(fault: Exception) -> bool:
    """Whether a worker of a loader was ended from outside. torch raises that from a signal handler, within any code,
    which may wrap it."""
    return re.search(r"DataLoader worker \(pid.{1,60}(killed by signal|exited unexpectedly)", str(fault)) is not None


# What the parser refuses: keys, flags, classes, values.

_PART = ("class_path", "init_args")
"""The keys of a part of a recipe."""
_CLASS_PATH = re.compile(r"Problem with given class_path '([^']+)'")


def refuse_linked(parser: LightningArgumentParser, arguments: Sequence[str]) -> None:
    """Refuse keys whose values the parser would replace, as it takes them from other keys.

    Raises:
        UserError: a recipe or a flag has one.
    """
    for action in parser._links_group._group_actions:  # type: ignore[attr-defined]
        place, source = action.target[0], action.source[0][0]
        flag = f"--{place}.".replace(".init_args", "")
        found = ["" for name, _ in flags(arguments) if f"{name}.".replace(".init_args", "").startswith(flag)]
        found += [
            f"{file}: "
            for file, recipe in _recipes(arguments)
            if any(key == place and value is not None for key, value in _items(recipe))
        ]
        if found:
            raise UserError(f"{found[0]}{place} is taken from the key {source}: give that, and leave this one out")


def mistyped(reason: str, parser: LightningArgumentParser, arguments: Sequence[str]) -> str:
    """The line about a key, flag, class or value that the parser refused, with the nearest name for one that does not
    exist.

    Args:
        reason: the message of jsonargparse.
        parser: of the command.
        arguments: of the command; a name that one of its recipes has is of that file.

    Returns:
        the line; empty for a message about anything else.
    """
    recipes = list(_recipes(arguments))
    for file, recipe in recipes:
        for place, _ in _items(recipe):
            last = place.rpartition(".")[2]
            if last not in _PART and (near := did_you_mean(last, _PART)):
                return f"{file}: there is no key {place}{near}"
    name, line = _explain(reason, list(parser._option_string_actions), arguments)
    word = name.rpartition(".")[2]
    if word in _words(flags(arguments)):
        return line
    return next((f"{file}: " for file, recipe in recipes if word in _words(_items(recipe))), "") + line


def _recipes(arguments: Sequence[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    """The files of the recipes that are named, and their contents."""
    files = [value for name, value in flags(arguments) if name in ("--config", "-c")]
    return zip(files, read_recipes(arguments), strict=True)


def _items(tree: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Place and value of each key of a recipe, and of each entry of a list."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield f"{place}{key}", value
        yield from _items(value, f"{place}{key}.")


def _words(items: Iterable[tuple[str, Any]]) -> set[str]:
    """The last parts of keys and of values: names of arguments and of classes."""
    return {str(each).rpartition(".")[2] for item in items for each in item}


def _explain(reason: str, options: Sequence[str], arguments: Sequence[str]) -> tuple[str, str]:
    """The name that is wrong, and the line about it; both empty where the message is about anything else."""
    reason = " ".join(reason.split())
    paths, place = _CLASS_PATH.findall(reason), ".".join(re.findall(r'Parser key "([^"]+)"', reason))
    if found := re.search(r"unrecognized arguments: --([^\s=]+)", reason):
        # Of a flag of the model, jsonargparse names the end.
        flag = next((name for name, _ in flags(arguments) if name.endswith(f".{found[1]}")), f"--{found[1]}")
        if flag.startswith("--model."):
            return _no_argument(public_path(task_class(read_recipes(arguments), arguments)), found[1], place)
        return _no_key(flag, options, "unrecognized arguments:")
    if found := re.search(r"does not accept option '(data\.(?:class_path|init_args)[^']*)'", reason):
        line = f"there is no key {found[1]}: the data class is that of the task; its arguments are under data"
        return found[1], line
    if found := re.search(r"does not accept option '([^']+)'", reason):
        return _no_key(found[1], [each.lstrip("-") for each in options], "there is no key")
    if found := re.search(r"Option '([^']+)' is not accepted", reason):
        return _no_argument(_CLASS_PATH.findall(reason[: found.start()])[-1], found[1], place)
    if found := re.search(r'"([^"]+)":[^"]*Import path (\S+) does not correspond to a subclass of (\w+)', reason):
        return found[2], f"{found[2]} is not a {found[3]}, which {found[1]} must be"
    if found := re.search(r"Expected a dot import path string: (\S+)", reason):
        return _no_class(found[1], reason)
    if paths and not find_class(paths[-1]):
        return _no_class(paths[-1], reason)
    if found := re.search(r"the following arguments are required: ([\w.]+)", reason):
        name = ".".join(filter(None, [place, found[1].partition(".")[2] or found[1]]))
        return paths[-1] if paths else name, f"{name} is missing: give it in a recipe (--config) or as --{name}"
    return _wrong_value(reason.rpartition('Parser key "')[2], place)


def _no_key(name: str, options: Sequence[str], start: str) -> tuple[str, str]:
    """Of a key or flag that does not exist: up to the first part at which it differs from all that do."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        head, others = ".".join(parts[:end]), {".".join(each.split(".")[:end]): None for each in options}
        if head not in others:
            return head, f"{start} {head}{did_you_mean(head, others) or did_you_mean(head, options)}"
    return name, f"{start} {name}"


def _no_argument(path: str, option: str, place: str) -> tuple[str, str]:
    """Of an option that a class does not have."""
    name = option.removeprefix("init_args.").partition(".")[0]
    parameters = inspect.signature(find_class(path) or object).parameters.values()
    names = [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    if path.startswith("vlrnn.") and (new := new_key(name, names)):
        return name, f"{name} of {path} is now called {new}"
    if not names or path == public_path(Task):
        return name, f"{place or path} has no class_path: it must name the class of a {path.rpartition('.')[2]}"
    near = did_you_mean(name, [*names, *_PART]) or f"; it has {', '.join(names)}"
    return name, f"{path} has no argument {name}{near}"


def _no_class(path: str, reason: str) -> tuple[str, str]:
    if new := new_class(path):
        return path, f"{path} is now called {new}"
    near = did_you_mean(path, [*public_classes().values(), *callbacks.__all__])
    missing = re.search(r"No module named '[^']+'", reason)
    return path, f"there is no class {path}{near or (f' ({missing[0]})' if missing else '')}"


def _wrong_value(reason: str, place: str) -> tuple[str, str]:
    """Of a value of another type than the key's.

    Args:
        reason: the end of the message, from the last key on.
        place: all keys that lead there.
    """
    found = re.search(r"(?:Got|Given) value: (.+?)(?: - Expected a|$)", reason)
    types = re.findall(
        r"Expected a (?:<class '([\w.]+)'>|typing\.Literal\[([^]]*)\])", reason[: found.start()] if found else ""
    )
    if not found or not types:
        return "", ""
    expected = " or ".join(dict.fromkeys("null" if one == "NoneType" else one or many for one, many in types))
    return place, f"{place}: expected {expected}, not {found[1][:200]}"

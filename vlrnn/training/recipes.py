"""Recipes: read before the command line is parsed, merged, overlaid, written back as plain YAML."""

import importlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import reduce
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace, get_loader, set_loader
from pytorch_lightning.cli import LightningArgumentParser

from vlrnn.config import check_complete, public_path
from vlrnn.errors import UserError, did_you_mean
from vlrnn.files import nested
from vlrnn.training.module import Task
from vlrnn.trust import import_class, is_foreign
from vlrnn.yaml_text import check_yaml, read_yaml

_load = get_loader("yaml")


def _load_checked(text: str) -> Any:
    """As jsonargparse reads files and the values of flags, which may be as short, and stand for as much. It writes the
    null of a flag within two parts as `None`, and reads that once more."""
    check_yaml(text, "a value of the recipe")
    return None if text == "None" else _load(text)


set_loader("yaml", _load_checked, (yaml.YAMLError,))
# The default of an option may be a member of an enumeration, as a Timer's interval is; what is written is its value.
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))


_PACKAGE = Path(__file__).parents[1]
_FLAGS = ("--config", "-c")


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: the one of this path, or the recipe of vlrnn of this name (`flickr8k`, `cells/gru`). Those
    lie in `configs/` of a checkout, and in `vlrnn/recipes` where a wheel was installed.

    Raises:
        UserError: there is none; names the nearest.
    """
    path = Path(name)
    if path.exists() and not path.is_dir():
        return path
    packed = _PACKAGE / "recipes"
    folder = packed if packed.is_dir() else _PACKAGE.parent / "configs"
    recipes = {each.relative_to(folder).with_suffix("").as_posix(): each for each in sorted(folder.rglob("*.yaml"))}
    if str(name) in recipes:
        return recipes[str(name)]
    near = did_you_mean(str(name).removesuffix(".yaml"), recipes, most=3)
    raise UserError(f"{name}: no such file or recipe{near}")


def locate_recipes(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command, with the files of the recipes that `--config` names.

    Raises:
        UserError: there is no such recipe.
    """
    located = list(arguments)
    for place, (name, value) in enumerate(flags(arguments)):
        if name in _FLAGS and "=" in arguments[place]:
            located[place] = f"{name}={find_recipe(value)}"
        elif name in _FLAGS and place + 1 < len(located):
            located[place + 1] = str(find_recipe(value))
    return located


def read_recipes(arguments: Sequence[str]) -> list[dict[str, Any]]:
    """Read the recipes that are named ahead of jsonargparse, whose errors do not name the file."""
    return [_read_recipe(value) for name, value in flags(arguments) if name in _FLAGS]


def _read_recipe(path: str | Path) -> dict[str, Any]:
    recipe = read_yaml(path)
    if not isinstance(recipe, dict):
        raise UserError(f"{path}: not a recipe: expected keys and values")
    return recipe


def flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The flags among arguments, each with what stands behind it, or behind its equals sign."""
    for flag, value in zip_longest(arguments, arguments[1:], fillvalue=""):
        name, equals, own = flag.partition("=")
        yield name, own if equals else value


_CLASS = re.compile(r"(?:[^\W\d]\w*\.)+[A-Z]\w*")
"""The path of a class. Its name begins with a capital, which no name of a file does that has an ending."""


def import_named(recipes: Sequence[dict[str, Any]], arguments: Sequence[str]) -> list[str]:
    """Import the classes outside vlrnn that recipes and flags name, from the current folder where they are in no other
    place. Whoever reads the recipe after that finds them imported.

    Returns:
        their paths, as checkpoints name them.

    Raises:
        UserError: a module fails at import, or has no such class.
    """
    texts = [each for each in nested(list(recipes)) if isinstance(each, str)]
    texts += (value for _, value in flags(arguments))
    texts += (path for text in texts if "class_path" in text for path in _CLASS.findall(text))
    found = []
    for path in dict.fromkeys(filter(is_foreign, filter(_CLASS.fullmatch, texts))):
        try:
            named = import_class(path)
        except ModuleNotFoundError:  # it is no class, or the parser tells that there is none
            continue
        if not isinstance(named, type):
            module, _, name = path.rpartition(".")
            raise UserError(f"{path}: the module {module} has no class {name}")
        found.append(public_path(named))
    return found


def find_task(path: str) -> type[Task]:
    """The class of a task, by its path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def task_class(recipes: Sequence[dict[str, Any]], arguments: Sequence[str]) -> type[Task]:
    """The task that is named, or `Task` if it is not found, which the parser then reports. Options of the task and of
    its data are flags and keys, which the parser needs before it parses.

    Raises:
        UserError: the task or its data class lacks a method.
    """
    models = [recipe.get("model") for recipe in recipes]
    named = [each.get("class_path") if isinstance(each, dict) else each for each in models]
    named += [value for name, value in flags(arguments) if name in ("--model", "--model.class_path")]
    try:
        found = find_task(next(path for path in reversed(named) if path))
    except (StopIteration, ImportError, AttributeError, ValueError):
        return Task
    if not issubclass(found, Task):
        return Task
    for each in (found, found.data_class):  # the parser uses both before it builds one
        check_complete(each)
    return found


_UNWRITTEN = "Unable to serialize instance"  # what jsonargparse puts in the place of such a value


def plain_recipe(parser: LightningArgumentParser, config: Namespace) -> tuple[dict[str, Any], list[str]]:
    """The recipe of a run as plain data, which a file holds, and the keys that are left out of it, for their values are
    none, as those of a callback's function. Whoever uses the file has their defaults."""
    left_out: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is left out; and jsonargparse calls it otherwise from 4.49 on
        recipe = yaml.safe_load(parser.dump(config, skip_none=False, skip_validation=True))
    return _plain(recipe, "", left_out), left_out


def _plain(tree: Any, place: str, left_out: list[str]) -> Any:
    children = enumerate(tree) if isinstance(tree, list) else tree.items() if isinstance(tree, dict) else ()
    plain = {}
    for key, value in children:
        name = f"{place}.{key}" if place else str(key)
        if isinstance(value, str) and value.startswith(_UNWRITTEN):
            left_out.append(name)
        else:
            plain[key] = _plain(value, name, left_out)
    return list(plain.values()) if isinstance(tree, list) else plain if isinstance(tree, dict) else tree


Place = tuple[str, ...]
"""The keys that lead to something in a recipe."""


def merged(configs: Sequence[str]) -> dict[str, Any]:
    """The recipes of these files or names as one, a later one over those before it.

    Raises:
        UserError: a file cannot be read, or is no recipe.
    """
    return reduce(over, map(_read_recipe, map(find_recipe, configs)), {})


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe over another: its own keys, and the other's for those that it lacks."""
    both = {
        key: over(below[key], above[key])
        for key in below.keys() & above.keys()
        if isinstance(below[key], dict) and isinstance(above[key], dict)
    }
    return {**below, **above, **both}


def overlay(place: Place, value: Any) -> dict[str, Any]:
    """A recipe of one value, at a place, which must not be empty."""
    for key in reversed(place):
        value = {key: value}
    return value

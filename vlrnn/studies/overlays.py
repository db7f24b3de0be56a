"""Recipes as trees of keys: read, laid over each other, and whole. Knows no key."""

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from typing import Any

import yaml

from vlrnn.errors import UserError
from vlrnn.tasks.recipe import run_recipe
from vlrnn.yaml_text import read_yaml

Place = tuple[str, ...]
"""The keys that lead to something in a recipe."""


def merged(configs: Sequence[str]) -> dict[str, Any]:
    """The recipes of files as one, a later one over those before it.

    Raises:
        UserError: a file cannot be read, or is no recipe.
    """
    recipe: dict[str, Any] = {}
    for path in configs:
        read = read_yaml(path)
        if not isinstance(read, dict):
            raise UserError(f"{path}: not a recipe: expected keys and values")
        recipe = over(recipe, read)
    return recipe


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe over another: what it says, and the rest of the one below."""
    both = {
        key: over(below[key], above[key])
        for key in below.keys() & above.keys()
        if isinstance(below[key], dict) and isinstance(above[key], dict)
    }
    return {**below, **above, **both}


def overlay(place: Place, value: Any) -> dict[str, Any]:
    """A recipe that says nothing but what stands at a place, which must not be empty."""
    for key in reversed(place):
        value = {key: value}
    return value


def whole_recipe(arguments: Sequence[str]) -> dict[str, Any]:
    """All keys of the recipe that `vlrnn fit` would run with these arguments, what it leaves to the defaults with them;
    every part by its `class_path` and `init_args`.

    Raises:
        UserError: an unknown key, or a value that does not fit.
    """
    told = io.StringIO()
    with redirect_stdout(told), suppress(SystemExit):  # which is how printing a recipe ends
        run_recipe("fit", [*arguments, "--print_config"])
    return yaml.safe_load(told.getvalue())

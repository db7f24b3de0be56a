"""Recurrences by name for command lines: `gru`, `LSTM:forget_bias=3`, `residual-stack:recurrence=mamba,num_layers=3`.
Available are those that `vlrnn.nn` lists."""

import inspect
import json
import re
from typing import Any

import vlrnn.nn
from vlrnn.config import public_path
from vlrnn.errors import UserError, one_line
from vlrnn.nn.recurrent.base import LayeredRecurrence, Recurrence


def split_cells(text: str) -> list[str]:
    """Split a comma-separated list of cells. An item with an equals sign and no colon is a further setting of the cell
    before it."""
    names: list[str] = []
    for each in filter(None, map(str.strip, text.split(","))):
        if names and "=" in each and ":" not in each:
            names[-1] += f",{each}"
        else:
            names.append(each)
    return names


def cell_part(name: str, **settings: Any) -> dict[str, Any]:
    """A recurrence as recipes describe it, `{"class_path", "init_args"}`.

    Args:
        name: name of the class, in any case and with or without hyphens, or its path; after a colon comma-separated
            settings `name=value`. A value may be the name of another cell.
        settings: such as `hidden_size`, for a class that has them, otherwise for the cell inside it: `num_layers` is
            that of a stack, not of each cell in it. Settings in the name take precedence.

    Raises:
        UserError: there is no such recurrence, or no such setting.
    """
    called, _, options = name.partition(":")
    found = _find(called)
    takes = inspect.signature(found).parameters
    inner = {setting: value for setting, value in settings.items() if setting not in takes}
    given: dict[str, Any] = {}
    for each in filter(None, options.split(",")):
        key, equals, value = each.partition("=")
        if not equals or key not in takes:
            raise UserError(f"{name}: {key!r} is no setting of {found.__name__}: {', '.join(takes)}")
        given[key] = cell_part(value, **inner) if key == "recurrence" else _value(value)
    arguments = {key: value for key, value in settings.items() if key in takes} | given
    return {"class_path": public_path(found), "init_args": arguments}


def file_name(name: str) -> str:
    """A file name for a cell: its name without characters special to a shell or file system."""
    return re.sub(r"[^\w.]+", "-", name).strip("-").lower()


def named_cell(name: str, input_width: int | None, **settings: Any) -> Recurrence:
    """A recurrence, built for inputs of a size, or not yet built; `name` and `settings` as of `cell_part`.

    Raises:
        UserError: there is no such recurrence, or it cannot be built so.
    """
    part = cell_part(name, **settings)
    try:
        return _made(part) if input_width is None else _made(part).build(input_width)
    except Exception as fault:  # a constructor or torch may raise any
        raise UserError(f"{name}: cannot be built: {one_line(str(fault), 200)}") from None


def _made(part: dict[str, Any]) -> Recurrence:
    arguments = {key: _made(value) if isinstance(value, dict) else value for key, value in part["init_args"].items()}
    return _find(part["class_path"])(**arguments)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # a word
        return text


def _find(called: str) -> type[Recurrence]:
    for name, found in _recurrences().items():
        if called == public_path(found) or _plain(called) == _plain(name):
            return found
    raise UserError(f"{called}: no recurrence; there are {', '.join(sorted(_recurrences()))}")


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def _recurrences() -> dict[str, type[Recurrence]]:
    """Name -> class, without the base classes."""
    public = {name: getattr(vlrnn.nn, name) for name in vlrnn.nn.__all__}
    return {
        name: found
        for name, found in public.items()
        if issubclass(found, Recurrence) and found not in (Recurrence, LayeredRecurrence)
    }

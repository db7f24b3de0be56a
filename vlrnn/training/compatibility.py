"""Whether a checkpoint is of the model that a recipe describes, and what is different where it is not. Knows
descriptions (vlrnn.config), and no model."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from vlrnn.errors import UserError

_PARTS = ("vocabulary", "tokenizer", "answers", "encoder", "question_encoder", "image_pooling", "fusion", "decoder")
"""What weights are of: of other optimizers, losses and ways of searching there may be."""

_FREE = ("finetune_from", "path")
"""Arguments of an encoder that may differ: which blocks are trained, and where files of regions are."""

_MEND = "give the config.yaml of its run"
_LONGEST = 60  # characters of a value that is told


def refuse_other_task(wanted: str, found: Any) -> None:
    """Refuse what was trained for another task.

    Args:
        wanted: the path of the recipe's class.
        found: that of the checkpoint's.
    """
    if wanted != found:
        raise UserError(f"the checkpoint is of a {_short(found)}, where the recipe has a {_short(wanted)}; {_MEND}")


def refuse_other_parts(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse what was trained with other parts, whichever blocks of an encoder learn.

    Args:
        wanted: the arguments of the recipe's task, described.
        found: those of the checkpoint's.
    """
    for part in _PARTS:
        if part in wanted and (told := _difference(found.get(part), wanted[part])):
            raise UserError(f"the checkpoint was made with another {part} than the recipe's ({told}); {_MEND}")


def _difference(there: Any, here: Any, place: str = "") -> str:
    """The first place in which descriptions differ, and how; nothing where they do not."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        if "class" in here and there.get("class") != here["class"]:
            there, here = there.get("class"), here["class"]
        else:
            names = [name for name in {**here, **there} if name not in _FREE]
            told = (_difference(there.get(name), here.get(name), _join(place, name)) for name in names)
            return next(filter(None, told), "")
    if isinstance(there, Sequence) and isinstance(here, Sequence) and not isinstance(there, str | bytes):
        return _difference_of_lists(there, here, place)
    return "" if there == here else f"{place + ': ' if place else ''}{_short(there)} there, {_short(here)} here"


def _difference_of_lists(there: Sequence[Any], here: Sequence[Any], place: str) -> str:
    for number, (theirs, ours) in enumerate(zip_longest(there, here)):
        if theirs != ours:
            counts = f"{len(there)} there, {len(here)} here; " if len(there) != len(here) else ""
            return f"{place}: {counts}number {number} is {_short(theirs)} there, {_short(ours)} here"
    return ""


def _join(place: str, name: str) -> str:
    return place if name == "arguments" else f"{place}.{name}" if place else name


def _short(value: Any) -> str:
    """A class by its name, anything else as it stands, cut where it is long."""
    if isinstance(value, str) and value.startswith("vlrnn."):
        return value.rpartition(".")[2]
    return "nothing" if value is None else repr(value)[:_LONGEST]

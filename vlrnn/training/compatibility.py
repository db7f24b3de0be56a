"""Comparison of a checkpoint's model with that of a recipe, by their descriptions (`vlrnn.config`)."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from torch import Tensor

from vlrnn.errors import UserError
from vlrnn.nn.weights import outlines
from vlrnn.progress import print_progress
from vlrnn.training.objectives.base import split_weights

_PARTS = ("vocabulary", "tokenizer", "answers", "encoder", "question_encoder", "image_pooling", "fusion", "decoder")
"""Parts on which the weights depend; optimizers, objectives and generation settings may differ."""

_FREE = ("finetune_from", "path")
"""Arguments of an encoder that may differ: which blocks are trained, and the path of region files."""

_HINT = "give the config.yaml of its run"
_LONGEST = 60  # characters of a value in a message


def refuse_other_task(wanted: str, found: Any) -> None:
    """Raise a UserError if a checkpoint is of another task.

    Args:
        wanted: class path of the recipe's task.
        found: class path of the checkpoint's task.
    """
    if wanted != found:
        raise UserError(f"the checkpoint is of a {_short(found)}, but the recipe has a {_short(wanted)}; {_HINT}")


def refuse_other_parts(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise a UserError if a checkpoint was trained with other parts; which blocks of the encoder are trained may
    differ.

    Args:
        wanted: the described arguments of the recipe's task.
        found: those of the checkpoint's task.
    """
    for part in _PARTS:
        if part in wanted and (other := _difference(found.get(part), wanted[part])):
            raise UserError(f"the checkpoint was made with another {part} than the recipe's ({other}); {_HINT}")


def check_checkpoint(
    checkpoint: dict[str, Any],
    task: Mapping[str, Any],
    objective: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    resumes: bool,
) -> None:
    """Check that a checkpoint is of the recipe's model. Training that resumes needs the weights of its objective; to
    validate and test, weights of another objective are replaced by those of the recipe's.

    Args:
        checkpoint: as read; its `state_dict` is changed.
        task: the description of the recipe's task.
        objective: that of its objective.
        weights: of task and objective, under their names in the task.
        resumes: whether training goes on.

    Raises:
        UserError: it is of another task or model, or training cannot go on with this objective.
    """
    found = checkpoint["vlrnn"]["task"]
    refuse_other_task(task["class"], found.get("class"))
    refuse_other_parts(task["arguments"], found["arguments"])
    (model, own), (found_model, found_own) = split_weights(weights), split_weights(checkpoint["state_dict"])
    expected, stored = outlines(model), outlines(found_model)
    if expected != stored:
        name = next(name for name in {**expected, **stored} if expected.get(name) != stored.get(name))
        raise UserError(
            f"the checkpoint holds the weights of another model than the recipe's, such as {name} (other "
            f"members?); {_HINT}"
        )
    other = _difference(checkpoint["vlrnn"].get("objective"), objective)
    if outlines(own) != outlines(found_own):
        if resumes:
            raise UserError(
                f"the checkpoint was trained with another objective than the recipe's, with other weights ({other}); "
                f"{_HINT}, or start from its model with --init_from"
            )
        checkpoint["state_dict"] = {**found_model, **own}
    elif resumes and other:
        print_progress(f"training continues with another objective ({other})")


def _difference(theirs: Any, ours: Any, place: str = "") -> str:
    """The first difference between the descriptions of checkpoint and recipe; empty if they are equal."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        if "class" in ours and theirs.get("class") != ours["class"]:
            theirs, ours = theirs.get("class"), ours["class"]
        else:
            names = [name for name in {**ours, **theirs} if name not in _FREE]
            places = [place if name == "arguments" else f"{place}.{name}".lstrip(".") for name in names]
            values = ((theirs.get(name), ours.get(name)) for name in names)
            return next(filter(None, (_difference(*pair, at) for pair, at in zip(values, places, strict=True))), "")
    if isinstance(theirs, Sequence) and isinstance(ours, Sequence) and not isinstance(theirs, str | bytes):
        for number, (one, other) in enumerate(zip_longest(theirs, ours)):
            if one != other:
                counts = f"{len(theirs)} there, {len(ours)} here; " if len(theirs) != len(ours) else ""
                return f"{place}: {counts}number {number} is {_short(one)} there, {_short(other)} here"
        return ""
    return "" if theirs == ours else f"{place + ': ' if place else ''}{_short(theirs)} there, {_short(ours)} here"


def _short(value: Any) -> str:
    """The name of a class, or the repr of any other value, truncated."""
    if isinstance(value, str) and value.startswith("vlrnn."):
        return value.rpartition(".")[2]
    return "nothing" if value is None else repr(value)[:_LONGEST]

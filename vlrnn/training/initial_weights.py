"""Initial weights from a checkpoint (`fit --init_from`), of the same vocabulary or another one.

Weights with a row for each word, as embeddings and output layers, are copied word by word; likewise rows of answers.
"""

import argparse
from collections.abc import Mapping, MutableMapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vlrnn.config import Configurable, classes_of, from_config, to_config
from vlrnn.errors import UserError
from vlrnn.files import regular_file
from vlrnn.progress import print_progress
from vlrnn.text.vocabulary import AnswerVocabulary, Vocabulary
from vlrnn.training.checkpoint import read_checkpoint
from vlrnn.training.module import Task
from vlrnn.training.objectives.base import split_weights

_LISTS: dict[str, tuple[type[Configurable], str]] = {
    "vocabulary": (Vocabulary, "words"),
    "answers": (AnswerVocabulary, "answers"),
}
"""Part of a task that lists the entries that weights have rows for -> base class, argument with the list."""

_ANOTHER = "\0another"
"""An entry that is in none of these lists."""

_SHOWN = 4
"""Most names of weights in a line."""


class _Shared(NamedTuple):
    """The S entries that are in the lists of both tasks."""

    rows: Tensor  # [S], their indices in the list of the task to be trained
    other_rows: Tensor  # [S], in the list of the checkpoint
    length: int
    other_length: int


def add_init_from(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--init_from`. It is no key of the recipe: a resumed run has its own weights."""
    parser.add_argument(
        "--init_from",
        default=argparse.SUPPRESS,
        metavar="CKPT",
        help="start at epoch 0 with the weights of a checkpoint or exported folder that match the model",
    )


def checked_init_from(settings: MutableMapping[str, Any]) -> str | None:
    """Take the value of `--init_from` out of the settings of a fit.

    Raises:
        UserError: `--ckpt_path` is given, too; or there is no such checkpoint.
    """
    path = settings.pop("init_from", None)
    if path is None:
        return None
    if settings["ckpt_path"] is not None:
        raise UserError("--init_from starts at epoch 0, --ckpt_path resumes a run; remove one of them")
    if not Path(path).is_dir():
        regular_file(path)
    return path


@torch.no_grad()
def init_from(task: Task, path: str | Path, trust: Sequence[str] = ()) -> None:
    """Copy the weights of a checkpoint that have the names and shapes of the task's weights. In a dimension with an
    index for each word or answer, the entries of shared words or answers are copied. Two lines list what was copied and
    what is new. The objective's weights are not copied.

    Args:
        task: to be trained.
        path: a `.ckpt` file, or a folder of `save_pretrained`.
        trust: as for `load_task`; of the checkpoint only vocabulary and answers are built.

    Raises:
        UserError: not a checkpoint, or none of its weights fits.
    """
    checkpoint = read_checkpoint(path)
    described, found = checkpoint["vlrnn"]["task"]["arguments"], checkpoint["state_dict"]
    shared = {}
    for part, (base, argument) in _LISTS.items():
        if described.get(part) is not None and hasattr(task, part):
            other = from_config(described[part], base, str(path), trust)
            shared[part] = _shared(getattr(getattr(task, part), argument), getattr(other, argument))
    own, _ = split_weights(task.state_dict())  # its tensors share memory with the parameters
    dimensions = _listed_dimensions(task, own)
    new = []
    for name, weight in own.items():
        part, places = dimensions.get(name, ("", ()))
        if name not in found or not _fill(weight, found[name], shared.get(part), places):
            new.append(name)
    if len(new) == len(own):
        raise UserError(f"--init_from {path}: none of its weights has the name and shape of one of this model")
    for line in _summary(path, len(own), new, {_LISTS[part][1]: each for part, each in shared.items()}):
        print_progress(line)


def _shared(own: Sequence[str], other: Sequence[str]) -> _Shared:
    places = {entry: place for place, entry in enumerate(other)}
    both = [(place, places[entry]) for place, entry in enumerate(own) if entry in places]
    rows = torch.tensor(both, dtype=torch.long).view(-1, 2)
    return _Shared(rows[:, 0], rows[:, 1], len(own), len(other))


def _listed_dimensions(task: Task, own: Mapping[str, Tensor]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Weight -> the part that lists its entries, and the dimensions of these: those that are longer in a model with one
    more word or answer, which is built without memory on torch's meta device."""
    description, found = to_config(task), {}
    for part, (_, argument) in _LISTS.items():
        if not hasattr(task, part):
            continue
        longer = deepcopy(description)
        longer["arguments"][part]["arguments"][argument].append(_ANOTHER)
        with torch.device("meta"), torch.random.fork_rng([]):
            outline = from_config(longer, type(task), "--init_from", list(classes_of(description))).state_dict()
        for name in own.keys() & outline.keys():
            sizes = zip(own[name].shape, outline[name].shape, strict=True)
            if places := tuple(place for place, (size, more) in enumerate(sizes) if size != more):
                found[name] = (part, places)
    return found


def _fill(weight: Tensor, other: Tensor, shared: _Shared | None, places: Sequence[int]) -> bool:
    """Copy the other weight, or the shared entries of one with `places`; False if it does not fit."""
    if places and shared is None:
        return False
    wanted = [shared.other_length if shared and place in places else size for place, size in enumerate(weight.shape)]
    if list(other.shape) != wanted:
        return False
    if not shared or not places:
        weight.copy_(other)
        return True
    weight[_at(shared.rows, places, weight.dim())] = other[_at(shared.other_rows, places, weight.dim())].to(weight)
    return True


def _at(rows: Tensor, places: Sequence[int], dimensions: int) -> tuple[slice | Tensor, ...]:
    """The index that selects rows in each of these dimensions of a weight, and everything in the others."""
    crossed = [rows.view([-1 if each == place else 1 for each in places]) for place in places]
    return tuple(crossed[places.index(each)] if each in places else slice(None) for each in range(dimensions))


def _summary(path: str | Path, total: int, new: Sequence[str], lists: Mapping[str, _Shared]) -> tuple[str, str]:
    """Two lines: what was copied, and what is new."""
    partly = {name: each for name, each in lists.items() if len(each.rows) < each.length}
    taken = [f"{total - len(new)} of {total} weights"]
    taken += [f"rows of {len(each.rows):,} of {each.length:,} {name}" for name, each in partly.items()]
    added = [f"rows of {each.length - len(each.rows):,} of {each.length:,} {name}" for name, each in partly.items()]
    added += new if len(new) <= _SHOWN else [*new[:_SHOWN], f"{len(new) - _SHOWN} more weights"]
    return f"copied from {path}: {', '.join(taken)}", f"new: {', '.join(added) or 'nothing'}"

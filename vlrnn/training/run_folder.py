"""A run folder on the command line: what `validate` and `test` take from it, and what `fit` prints of it at its end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from vlrnn.config import classes_of, to_config
from vlrnn.errors import UserError
from vlrnn.progress import is_shown
from vlrnn.terminal import print_line
from vlrnn.training.recipes import flags
from vlrnn.training.resuming import RecipeCheckpoint
from vlrnn.training.run_start import checkpoint_of
from vlrnn.trust import needed_trust
from vlrnn.yaml_text import read_yaml

_WEIGHTS = ("weights", "embedding_weights")
"""Arguments that name files which training begins with. A checkpoint holds the weights themselves."""


def expand_run(arguments: Sequence[str]) -> list[str]:
    """Replace a run folder, where it is the first argument, by the flags that name its recipe and best checkpoint.

    Raises:
        UserError: there is no such folder, it is no run, or its data have moved.
    """
    if not arguments or arguments[0].startswith("-"):
        return list(arguments)
    run, rest = Path(arguments[0]), list(arguments[1:])
    config = run / "config.yaml"
    if not run.is_dir():
        raise UserError(f"{run}: there is no such run folder; give one made by vlrnn fit, or --config RECIPE")
    if not config.is_file():
        raise UserError(f"{run}: not a run folder: it has no config.yaml; give one made by vlrnn fit")
    recipe = read_yaml(config)
    data = recipe.get("data") if isinstance(recipe, dict) else None
    root = data.get("root") if isinstance(data, dict) else None
    if isinstance(root, str) and not Path(root).exists() and not any(name == "--data.root" for name, _ in flags(rest)):
        raise UserError(f"{run}: its data are not in {root} any more; name where they are with --data.root")
    checkpoint = [] if any(name == "--ckpt_path" for name, _ in flags(rest)) else ["--ckpt_path", "best"]
    return ["--config", str(config), "--trainer.default_root_dir", str(run), *checkpoint, *rest]


def scored_checkpoint(run: Path, named: str | None) -> str:
    """The path of the checkpoint to score: the best of the run where none is named, never an untrained model.

    Raises:
        UserError: none is named, and the run has none.
    """
    best = run / "checkpoints" / "best.ckpt"
    if named is None and not best.is_file():
        raise UserError(f"no checkpoint to score: name one with --ckpt_path (there is no {best})")
    return checkpoint_of(run, named or "best")


def leave_weights_out(part: Any, described: Any) -> bool:
    """Change the recipe of a model that is scored such that no file of weights is opened: where a part names one, it
    gets the arguments of the checkpoint, and keeps those that the recipe gives explicitly.

    Args:
        part: a part in the recipe, `class_path` and `init_args`.
        described: the same part as the checkpoint describes it.

    Returns:
        whether a file was left out: the weights must then be loaded ahead of any use of the model.
    """
    arguments = part.get("init_args") if hasattr(part, "get") else None
    if not arguments or not isinstance(described, Mapping) or not isinstance(described.get("arguments"), Mapping):
        return False
    if described["class"].rpartition(".")[2] != part["class_path"].rpartition(".")[2]:
        return False
    found = described["arguments"]
    names = [name for name in _WEIGHTS if arguments.get(name) is not None]
    left_out = bool(names)
    for name, value in list(vars(arguments).items()):
        left_out |= leave_weights_out(value, found.get(name))
        tagged = isinstance(value, str) and str(found.get(name)).startswith(f"{value}.")  # timm's: name.weights
        if names and (value is None or tagged or name in names):
            arguments[name] = found.get(name)
    return left_out


_USE = {"caption": "IMAGE", "ask": "IMAGE QUESTION", "continue": "TEXT"}
"""Command that uses a model -> what it takes."""


def print_outcome(trainer: pl.Trainer) -> None:
    """Print the best score of a fit and its epoch, the run folder, and the next commands, unless all is quiet."""
    best = next(each for each in trainer.checkpoint_callbacks if isinstance(each, RecipeCheckpoint))
    if trainer.fast_dev_run or best.best_model_score is None or not is_shown():  # type: ignore[attr-defined]
        return
    run, score = Path(trainer.default_root_dir), float(best.best_model_score)
    epoch = torch.load(best.best_model_path, map_location="cpu", weights_only=True, mmap=True)["epoch"] + 1
    print_line(f"best {best.monitor}: {score:.4g} (epoch {epoch}); the run is in {run}")
    for each in trainer.early_stopping_callbacks:
        if each.stopped_epoch:
            print_line(
                f"stopped after epoch {each.stopped_epoch + 1}, as {each.monitor} did not improve in {each.patience} "
                "validations (--early_stopping.patience)"
            )
    print_line(f"next: vlrnn test {run}")
    name = str(trainer.lightning_module.command)
    if name in _USE:
        trust = "".join(f" --trust {each}" for each in needed_trust(classes_of(to_config(trainer.lightning_module))))
        print_line(f"      vlrnn {name} {_USE[name]} --checkpoint {best.best_model_path}{trust}")

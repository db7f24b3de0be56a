"""Checkpoints: from a trained task to one file or folder, and back, without unpickling anything.

Two forms hold the same: the `.ckpt` of training (torch, read with `weights_only=True`), and the folder of
`save_pretrained` (`model.safetensors` and `config.json`). Both carry the description of the task (vlrnn.parts) and its
weights.
"""

import pickle
import re
import warnings
from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

import vlrnn
from vlrnn.errors import UserError
from vlrnn.files import read_json, replacing, write_json
from vlrnn.parts import Part, describe, rebuild
from vlrnn.tasks.base import FORMAT, Task
from vlrnn.tasks.matching import refuse_other_task

_CARD = """---
library_name: vlrnn
pipeline_tag: {tag}
---

A {kind} of vlrnn. To use it:

```python
from vlrnn import Predictor, from_pretrained
from vlrnn.tasks.base import Task

predictor = Predictor(from_pretrained("user/name", Task))
```
"""

AnyTask = TypeVar("AnyTask", bound=Task)
AnyPart = TypeVar("AnyPart", bound=Part)


def save_pretrained(task: Task, folder: str | Path) -> None:
    """Write `model.safetensors` and `config.json` into a folder, which is made when absent, and a model card where it
    has none: the folder can be pushed to the Hugging Face hub as it is."""
    folder = Path(folder)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in task.state_dict().items()}
    with replacing(folder / "model.safetensors", binary=True) as file:
        file.write(save(weights, metadata={"format": "pt"}))
    write_json(folder / "config.json", {"format": FORMAT, "task": describe(task)})
    if not (folder / "README.md").exists():
        kind = type(task).__name__
        with replacing(folder / "README.md") as file:
            file.write(_CARD.format(kind=kind, tag="visual-question-answering" if "VQA" in kind else "image-to-text"))


def from_pretrained(name: str | Path, expected: type[AnyTask], revision: str | None = None) -> AnyTask:
    """Load a task from a folder of `save_pretrained`, or from such a one on the Hugging Face hub.

    Args:
        name: of a folder, or `user/name` of the hub, where no folder is called so.
        expected: what it must be.
        revision: the branch, tag or commit, of the hub.

    Raises:
        UserError: there is none, the hub can not be reached, or as `load_task` says.
    """
    if Path(name).exists():
        return load_task(name, expected)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        raise UserError(f"{name}: no such folder, and no name of the hub (user/name)")
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(f"{name}: no such folder; to look on the hub: pip install 'vlrnn[hub]'") from None
    try:
        folder = huggingface_hub.snapshot_download(
            str(name), revision=revision, allow_patterns=["model.safetensors", "config.json"]
        )
    except Exception as fault:  # of the network, of the hub, of names
        raise UserError(f"{name}: cannot be fetched from the hub: {' '.join(str(fault).split())[:200]}") from None
    return load_task(folder, expected)


def load_task(path: str | Path, expected: type[AnyTask]) -> AnyTask:
    """Load a task from a `.ckpt` file or from a folder of `save_pretrained`, on the CPU, in evaluation mode.

    Raises:
        UserError: no checkpoint, one that holds pickled objects, or one that describes anything but a task of this
            kind.
    """
    checkpoint = read_checkpoint(path)
    task = rebuild(checkpoint["vlrnn"]["task"], expected, str(path))
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except Exception as fault:  # whatever stands where tensors should
        reason = " ".join(str(fault).split())
        raise UserError(f"{path}: the weights do not fit the model that it describes: {reason[:200]}") from None
    return task.eval()


def load_part(path: str | Path, task: type[Task], name: str, expected: type[AnyPart]) -> AnyPart | None:
    """Build one part of a checkpoint's task, `vocabulary`, say, as it was before it had learnt anything; None where the
    task was made without.

    Raises:
        UserError: no checkpoint, or one of another task.
    """
    description = read_checkpoint(path)["vlrnn"]["task"]
    refuse_other_task(f"{task.__module__}.{task.__qualname__}", description.get("class"))
    part = description["arguments"].get(name)
    return None if part is None else rebuild(part, expected, str(path))


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """All that a `.ckpt` file or a folder of `save_pretrained` holds, on the CPU: `vlrnn`, the description;
    `state_dict`; and of a file what training goes on from. Only plain data and tensors are read.

    Raises:
        UserError: no checkpoint of this version of vlrnn, one that holds pickled objects, or one whose weights are not
            all numbers.
    """
    checkpoint = _read_folder(Path(path)) if Path(path).is_dir() else _read_file(path)
    if not isinstance(checkpoint, dict) or not {"vlrnn", "state_dict"} <= checkpoint.keys():
        raise UserError(f"{path}: not a checkpoint of vlrnn: it has no description of a model")
    _check_description(checkpoint["vlrnn"], path)
    _check_weights(checkpoint["state_dict"], path)
    return checkpoint


def _read_file(path: str | Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strange pickles, which are refused below in our own words
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as fault:
        raise UserError(f"{path}: cannot be read: {fault.strerror or fault}") from None
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: no checkpoint, or one that holds pickled objects, which could run code when loaded; refused"
        ) from None
    except Exception as fault:  # torch raises what its zip reader raises
        reason = " ".join(str(fault).split())
        raise UserError(f"{path}: not a checkpoint: {reason[:120]}") from None


def _check_description(description: Any, path: str | Path) -> None:
    form = description.get("format") if isinstance(description, dict) else None
    if not isinstance(form, int):
        raise UserError(f"{path}: not a checkpoint of vlrnn: its description has no format")
    if form != FORMAT:
        raise UserError(
            f"{path}: of format {form}, which another version of vlrnn writes; this one, {vlrnn.__version__}, reads "
            f"format {FORMAT}"
        )
    _refuse_foreign_weights(description, path)
    task = description.get("task")
    if not isinstance(task, dict) or not isinstance(task.get("arguments"), dict):
        raise UserError(f"{path}: describes no task; it was not written by vlrnn")


def _check_weights(weights: Any, path: str | Path) -> None:
    if not isinstance(weights, dict) or not all(isinstance(each, torch.Tensor) for each in weights.values()):
        raise UserError(f"{path}: holds something else than weights; it was not written by vlrnn")
    if odd := next((name for name, each in weights.items() if not each.isfinite().all()), None):
        raise UserError(f"{path}: {odd} is not all numbers: it is damaged; take another checkpoint")


def _refuse_foreign_weights(description: Any, path: str | Path) -> None:
    """A checkpoint holds all weights itself. One that names others would have loading fetch or open them."""
    if isinstance(description, dict):
        if description.get("weights") is not None:
            raise UserError(f"{path}: names weights to load from elsewhere, {description['weights']!r}; refused")
        for each in description.values():
            _refuse_foreign_weights(each, path)


def _read_folder(folder: Path) -> dict[str, Any]:
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: not a model folder: it has no {name}")
    try:
        weights = load_file(folder / "model.safetensors")
    except SafetensorError as fault:
        raise UserError(f"{folder / 'model.safetensors'}: not a safetensors file: {fault}") from None
    # Lightning asks every checkpoint for the version that wrote it.
    return {
        "vlrnn": read_json(folder / "config.json"),
        "state_dict": weights,
        "pytorch-lightning_version": pl.__version__,
    }

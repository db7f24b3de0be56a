"""Checkpoints: from a trained task to one file or folder, and back, without unpickling anything.

Two forms hold the same: the `.ckpt` of training (torch, read with `weights_only=True`), and the folder of
`save_pretrained` (`model.safetensors` and `config.json`). Both carry the description of the task (vlrnn.config), its
weights, and a digest of these, which is checked whenever they are loaded.
"""

import json
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

import vlrnn
from vlrnn.config import (
    FORMAT,
    Configurable,
    classes_of,
    from_config,
    parts_from_config,
    public_path,
    to_config,
)
from vlrnn.errors import UserError, optional, reason_of, refusing
from vlrnn.files import nested, read_json, replacing, write_json
from vlrnn.nn.weights import check_archive, check_plain, check_weights, digest, outlines
from vlrnn.progress import print_progress
from vlrnn.training.compatibility import refuse_other_task
from vlrnn.training.objectives.base import split_weights
from vlrnn.trust import checked_trust, is_foreign, needed_trust

AnyTask = TypeVar("AnyTask", bound=pl.LightningModule)


def save_pretrained(task: pl.LightningModule, folder: str | Path) -> None:
    """Write `model.safetensors` and `config.json` into a folder, which is made when absent, and a model card where it
    has none: the folder can be pushed to the Hugging Face hub as it is."""
    folder = Path(folder)
    model, _ = split_weights(task.state_dict())
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.items()}
    with replacing(folder / "model.safetensors", binary=True) as file:
        file.write(_in_order(save(weights, metadata={"format": "pt", "digest": digest(weights)})))
    write_json(folder / "config.json", {"format": FORMAT, "task": to_config(task)})
    if not (folder / "README.md").exists():
        with replacing(folder / "README.md") as file:
            file.write(task.model_card)


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata in order, which the library leaves to chance: the same model makes the same
    file."""
    end = 8 + int.from_bytes(content[:8], "little")  # of the header, filled up with spaces
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:8] + text.ljust(end - 8) + content[end:]


def from_pretrained(
    name: str | Path,
    expected: type[AnyTask] = pl.LightningModule,  # type: ignore[assignment]
    revision: str | None = None,
    trust: Sequence[str] = (),
) -> AnyTask:
    """Load a task from a folder of `save_pretrained`, or from such a one on the Hugging Face hub.

    Args:
        name: of a folder, a `.ckpt` file, a run folder (its best checkpoint), or `user/name` of the hub.
        expected: its class; by default any task.
        revision: the branch, tag or commit, of the hub.
        trust: packages outside vlrnn whose classes it may name.

    Raises:
        UserError: there is none, the hub can not be reached, or as of `load_task`.
    """
    if Path(name).exists():
        return load_task(name, expected, trust)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        raise UserError(f"{name}: no such folder, and no name of the hub (user/name)")
    hub = optional("huggingface_hub", f"{name}: no such folder; to search the hub", "hub")
    with refusing(f"{name}: cannot be fetched from the hub"):
        files = ["model.safetensors", "config.json"]
        folder = hub.snapshot_download(str(name), revision=revision, allow_patterns=files)
    return load_task(folder, expected, trust)


def load_task(path: str | Path, expected: type[AnyTask], trust: Sequence[str] = ()) -> AnyTask:
    """Load a task from a `.ckpt` file or from a folder of `save_pretrained`, on the CPU, in evaluation mode, without
    the objective that it was trained with.

    Args:
        path: of the file or folder.
        expected: what it must be.
        trust: packages outside vlrnn whose classes it may name; see `vlrnn.trust`.

    Raises:
        UserError: as of `read_checkpoint`; or it describes another task, its weights do not fit the description, or it
            names classes that are not trusted.
    """
    checkpoint = read_checkpoint(path)
    description, (weights, _) = checkpoint["vlrnn"]["task"], split_weights(checkpoint["state_dict"])
    _refuse_other_sizes(description, weights, expected, path, checked_trust(trust))
    task: Any = from_config(description, expected, str(path), trust)  # type: ignore[type-var]
    task.load_state_dict(weights)
    return task.eval()


_SPARE = 10_000  # modules and parameters beyond those in the file: the largest classifier that is cut has some 3,000


def _refuse_other_sizes(
    description: Any, weights: Mapping[str, Tensor], expected: type[Any], path: str | Path, trust: Sequence[str]
) -> None:
    """Refuse a description that the weights are not of, before any memory is asked for: it is built once without any
    (on torch's meta device), and of no more parts than the file has weights for."""
    with torch.device("meta"), _at_most(len(weights) + _SPARE):
        outline = from_config(description, expected, str(path), trust)
    wanted, found = outlines(outline.state_dict()), outlines(weights)
    for name in {**wanted, **found}:
        if wanted.get(name) != found.get(name):
            both = (each.get(name) for each in (found, wanted))
            in_file, in_model = (f"{list(each[0])} of {each[1]}" if each else "missing" for each in both)
            raise UserError(
                f"{path}: the weights do not match the model that it describes: {name} is {in_file}, but the model has "
                f"{in_model}"
            )


@contextmanager
def _at_most(limit: int) -> Iterator[None]:
    """Let so many modules and parameters be built and no more, whatever number of layers is asked for."""
    numbers = count()

    def refuse(*_: Any) -> None:
        if next(numbers) > limit:
            raise UserError("it would have many more parts than the file has weights")

    with register_module_module_registration_hook(refuse), register_module_parameter_registration_hook(refuse):
        yield


def note_trust(task: pl.LightningModule) -> None:
    """Print which packages must be trusted to load a checkpoint of the task, where it has classes outside vlrnn.

    Raises:
        UserError: its description does not build it again, as where a type hint does not name the base of a part.
    """
    description = to_config(task)
    to_config(task.objective)
    if foreign := list(filter(is_foreign, classes_of(description))):
        with torch.device("meta"), torch.random.fork_rng([]):
            from_config(description, type(task), "a checkpoint of this model", foreign)  # type: ignore[type-var]
    if needed := needed_trust(foreign):
        flags = " ".join(f"--trust {package}" for package in needed)
        print_progress(f"the model has classes outside vlrnn: commands that load its checkpoints need {flags}")


def load_parts(
    path: str | Path, task: type[Configurable], names: Sequence[str], trust: Sequence[str] = ()
) -> dict[str, Any]:
    """Build parts of a checkpoint's task, such as its vocabulary, without their weights.

    Args:
        path: of the checkpoint.
        task: the class that its task must have.
        names: arguments of the task. Those that are no parts, as numbers, are left out.
        trust: as for `load_task`.

    Returns:
        name -> part, None where the task was made without.

    Raises:
        UserError: no checkpoint, or one of another task.
    """
    description = _read(path)["vlrnn"]["task"]
    refuse_other_task(public_path(task), description.get("class"))
    arguments = {name: value for name, value in description["arguments"].items() if name in names}
    return parts_from_config(task, arguments, str(path), trust)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """All that a `.ckpt` file or a folder of `save_pretrained` holds, on the CPU: `vlrnn`, the description;
    `state_dict`; and of a file what training goes on from. Only plain data and tensors are read.

    Raises:
        UserError: no checkpoint of this version of vlrnn, one that holds pickled objects, one that is damaged, or one
            whose weights are not all numbers.
    """
    checkpoint = _read(path)
    weights, saved = checkpoint["state_dict"], checkpoint["vlrnn"].get("digest")
    check_weights(weights, path)
    if saved is None:
        raise UserError(f"{path}: has no digest of its weights: it is damaged, or of an older vlrnn; train again")
    if digest(weights) != saved:
        raise UserError(
            f"{path}: its weights differ from their digest: it is damaged, or was changed by "
            "another program; take another copy"
        )
    return checkpoint


def _read(path: str | Path) -> dict[str, Any]:
    """A checkpoint whose description is one; its weights may be anything."""
    if (best := Path(path) / "checkpoints/best.ckpt").is_file():
        path = best
    checkpoint = _read_folder(Path(path)) if Path(path).is_dir() else _read_file(path)
    if not isinstance(checkpoint, dict) or not {"vlrnn", "state_dict"} <= checkpoint.keys():
        raise UserError(f"{path}: not a checkpoint of vlrnn: it has no description of a model")
    _check_description(checkpoint["vlrnn"], path)
    return checkpoint


def _read_file(path: str | Path) -> Any:
    check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strange pickles, which are refused below in our own words
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(f"{path}: holds pickled objects, which could run code when loaded; refused") from None
    except Exception as fault:  # torch raises what its zip reader raises
        raise UserError(f"{path}: not a checkpoint, or a damaged one: {reason_of(fault, 120)}") from None


def _check_description(description: Any, path: str | Path) -> None:
    form = description.get("format") if isinstance(description, dict) else None
    if not isinstance(form, int):
        raise UserError(f"{path}: not a checkpoint of vlrnn: its description has no format")
    if form != FORMAT:
        advice = "train the model again" if form < FORMAT else "update vlrnn"
        raise UserError(f"{path}: of format {form}; vlrnn {vlrnn.__version__} reads format {FORMAT}: {advice}")
    check_plain(description, str(path))
    task = description.get("task")
    for each in nested(task):  # a checkpoint holds all weights itself; others would be fetched or opened
        if isinstance(each, dict) and each.get("weights") is not None:
            raise UserError(f"{path}: names weights to load from elsewhere, {each['weights']!r}; refused")
    if not isinstance(task, dict) or not isinstance(task.get("arguments"), dict):
        raise UserError(f"{path}: describes no task; it was not written by vlrnn")


def _read_folder(folder: Path) -> dict[str, Any]:
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: not a model folder: it has no {name}")
    description, path = read_json(folder / "config.json"), folder / "model.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            saved = (file.metadata() or {}).get("digest")
    except SafetensorError as fault:
        raise UserError(f"{path}: not a safetensors file, or a damaged or incomplete one: {fault}") from None
    described = {**description, "digest": saved} if isinstance(description, dict) else description
    # Lightning requires its version of every checkpoint.
    return {"vlrnn": described, "state_dict": weights, "pytorch-lightning_version": pl.__version__}

"""Checks of weights and descriptions from files: integrity, types and values. Torch itself ignores the checksums of an
archive, accepts any tensor, and converts types silently."""

import hashlib
import math
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from vlrnn.config import PLAIN
from vlrnn.errors import UserError
from vlrnn.files import regular_file

_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_TYPES = (*_FLOATS, torch.int64, torch.bool)  # weights, counters and masks


def check_archive(path: str | Path) -> None:
    """Check a file of `torch.save` by the archive's own checksums (CRC-32 of each member).

    Raises:
        UserError: it cannot be read, is no archive, or is damaged.
    """
    size = regular_file(path).st_size
    try:
        with Path(path).open("rb") as file:
            damaged = _damaged_member(file, size)
    except PermissionError as fault:
        raise UserError(f"{path}: cannot be read: {fault.strerror}") from None
    except Exception as fault:  # exceptions for broken bytes are undocumented
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise UserError(f"{path}: not a checkpoint, or a damaged or incomplete one: {reason[:120]}") from None
    if damaged is not None:
        raise UserError(f"{path}: damaged: the checksum of its member {damaged!r} differs; take another copy")


def _damaged_member(file: IO[bytes], size: int) -> str | None:
    """The first member with a wrong checksum, of an archive of this size in bytes; None if there is none."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        packed = any(each.compress_type != zipfile.ZIP_STORED for each in members)  # torch never compresses
        if packed or sum(each.file_size for each in members) > size:
            raise zipfile.BadZipFile("its members are larger than the file")
        return archive.testzip()


def check_weights(weights: Any, place: str | Path) -> None:
    """Check that weights are dense, finite tensors on the CPU that do not share memory.

    Args:
        weights: the state dict that was read, of any type.
        place: the file, for errors.

    Raises:
        UserError: they are not; names the first.
    """
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and type(each) in (Tensor, nn.Parameter) for name, each in weights.items()
    ):
        raise UserError(f"{place}: contains something other than weights")
    for name, each in weights.items():
        if flaw := _flaw(each):
            raise UserError(f"{place}: {name} is {flaw}, which is not supported")
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in weights.values()}
    if sum(each.nbytes for each in weights.values()) > sum(storages.values()):
        raise UserError(f"{place}: its weights share memory, which is not supported")
    for name, each in weights.items():
        # Values beyond the range of float32 would become infinite when they are loaded.
        if not (each.float() if each.dtype == torch.float64 else each).isfinite().all():
            raise UserError(f"{place}: {name} is not all finite: it is damaged; take another copy")


def _flaw(tensor: Tensor) -> str:
    if tensor.is_quantized:
        return "quantised"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "sparse"
    if tensor.device.type != "cpu":
        return f"of the device {tensor.device.type}"
    if tensor.dtype not in _TYPES:
        return f"of the type {str(tensor.dtype).removeprefix('torch.')}"
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    if tensor.nbytes > tensor.untyped_storage().nbytes() or any(size > 1 and not step for size, step in steps):
        return "expanded"
    return ""


def digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, types, shapes and bytes of weights, independent of order, device and memory layout."""
    found = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode(errors="backslashreplace"))
        found.update(tensor.flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def outlines(weights: Mapping[str, Tensor]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each tensor; all floating-point types are equal, since they are converted on loading, so that a
    checkpoint of another precision can be used."""
    return {
        name: (tuple(each.shape), "float" if each.dtype in _FLOATS else str(each.dtype).removeprefix("torch."))
        for name, each in weights.items()
    }


_DEEPEST = 100  # levels of nesting in a description


def check_plain(description: Any, place: str) -> None:
    """Check that a value that was read has the form of `to_config`: a tree of plain values and finite numbers.

    Args:
        description: of a part, or a structure that contains one.
        place: the file, for errors.

    Raises:
        UserError: a list or mapping occurs twice, contains itself or is nested too deeply, or a value is none of JSON.
    """
    level, visited = [description], set[int]()
    for _ in range(_DEEPEST):
        level = [each for value in level for each in _below(value, visited, place)]
        if not level:
            return
    raise UserError(f"{place}: its description is nested too deeply; it was not written by vlrnn")


def _below(value: Any, visited: set[int], place: str) -> Iterable[Any]:
    """The items of a list or mapping; none of any other value."""
    if type(value) in (list, dict):
        if id(value) in visited:
            raise UserError(f"{place}: its description contains itself, or a part twice; it was not written by vlrnn")
        visited.add(id(value))
        return value if isinstance(value, list) else [*value, *value.values()]
    if type(value) not in PLAIN or (isinstance(value, float) and not math.isfinite(value)):
        raise UserError(
            f"{place}: its description holds {value!r:.60}, which is not allowed; it was not written by vlrnn"
        )
    return ()

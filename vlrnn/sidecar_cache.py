"""Sidecar cache of indices that take a full pass over a large file.

It is stored in the folder `.index` next to the file; its name has a digest of the file's size, time and inode and of
the version of vlrnn, so that a stale entry is never read; a new entry replaces it. An entry starts with a digest of its
content, so that a damaged one is detected and computed again. If the folder cannot be written, nothing is cached.
"""

import functools
import glob
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import vlrnn
from vlrnn.errors import UserError, accessing
from vlrnn.files import replacing
from vlrnn.progress import print_progress

Value = TypeVar("Value")
Arrays = Mapping[str, np.ndarray]

_DIGEST = 16  # bytes


def cached_arrays(path: Path, what: str, make: Callable[[], Arrays]) -> Arrays:
    """The named arrays that `make` returns, from the cache of this file, or computed now and cached.

    Args:
        path: the file that they index.
        what: name of the entry; it must contain the settings that the arrays depend on.
        make: computes them from the file.

    Raises:
        UserError: the file cannot be read.
    """
    return _cached(path, f"{what}.arrays", make, _to_arrays, _from_arrays)


def cached_json(path: Path, what: str, make: Callable[[], Any]) -> Any:
    """The plain data that `make` returns, cached as by `cached_arrays`."""
    return _cached(path, f"{what}.data", make, json.loads, lambda value: json.dumps(value).encode())


def _cached(
    path: Path, name: str, make: Callable[[], Value], load: Callable[[bytes], Value], dump: Callable[[Value], bytes]
) -> Value:
    folder, fresh = path.parent / ".index", f"{path.name}.{_stamp(path)}."
    place = folder / (fresh + name)
    if (content := _read(place)) is not None:
        return load(content)
    value = make()
    try:
        content = dump(value)
        with replacing(place, binary=True) as file:
            file.write(_digest(content) + content)
        for each in folder.glob(f"{glob.escape(path.name)}.*"):
            if not each.name.startswith(fresh):
                each.unlink(missing_ok=True)
    except (UserError, OSError):
        _warn_unwritable(folder)
    return value


def _read(place: Path) -> bytes | None:
    """The content of an entry; None if it is absent or damaged."""
    try:
        content = place.read_bytes()
    except OSError:
        return None
    if content[:_DIGEST] != _digest(content[_DIGEST:]):
        print_progress(f"{place}: damaged; it is computed again")
        return None
    return content[_DIGEST:]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()


def _stamp(path: Path) -> str:
    with accessing(path):
        status = path.stat()
    identity = f"{status.st_size} {status.st_mtime_ns} {status.st_ino} {vlrnn.__version__}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _to_arrays(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content)) as held:
        return dict(held)


def _from_arrays(arrays: Arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub has keyword flags as well
    return file.getvalue()


@functools.cache
def _warn_unwritable(folder: Path) -> None:
    print_progress(
        f"{folder}: cannot be written, so that every start reads all data again; start once with write access"
    )

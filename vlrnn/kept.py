"""What was learnt by going through a large file once, kept beside it, so that later starts need not.

It lies in the folder `.index` beside the file, under a name with a digest of the file's size, time and inode and of the
version of vlrnn. So what is stale is never read, and it goes when its successor comes. Where nothing can be written,
nothing is kept, and all works as well, more slowly. Knows nothing of what the files mean.
"""

import functools
import glob
import hashlib
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import vlrnn
from vlrnn.errors import UserError
from vlrnn.files import read_json, replacing, write_json
from vlrnn.progress import say

Value = TypeVar("Value")
Arrays = Mapping[str, np.ndarray]


def kept_arrays(path: Path, what: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays that `make` returns, by name: those kept of this file, or else made now, and kept.

    Args:
        path: the file that they tell of.
        what: they are; it stands in the name that they are kept by, so settings that they depend on belong there.
        make: goes through the file.

    Raises:
        UserError: the file cannot be read.
    """
    return _kept(path, f"{what}.npz", make, _load, _save)


def kept_json(path: Path, what: str, make: Callable[[], Any]) -> Any:
    """The plain data that `make` returns, kept as `kept_arrays` keeps arrays."""
    return _kept(path, f"{what}.json", make, read_json, write_json)


def _kept(
    path: Path,
    name: str,
    make: Callable[[], Value],
    load: Callable[[Path], Value],
    save: Callable[[Path, Value], None],
) -> Value:
    folder, fresh = path.parent / ".index", f"{path.name}.{_stamp(path)}."
    place = folder / (fresh + name)
    # What cannot be read is no better than none.
    with suppress(UserError, OSError, ValueError, EOFError, zipfile.BadZipFile):
        if place.is_file():
            return load(place)
    value = make()
    try:
        save(place, value)
        for each in folder.glob(f"{glob.escape(path.name)}.*"):
            if not each.name.startswith(fresh):
                each.unlink(missing_ok=True)
    except (UserError, OSError):
        _tell(folder)
    return value


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as fault:
        raise UserError(f"{path}: cannot be read: {fault.strerror or fault}") from None
    told = f"{status.st_size} {status.st_mtime_ns} {status.st_ino} {vlrnn.__version__}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _load(place: Path) -> Arrays:
    with np.load(place) as held:
        return dict(held)


def _save(place: Path, arrays: Arrays) -> None:
    with replacing(place, binary=True) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # whose flags come behind the arrays


@functools.cache
def _tell(folder: Path) -> None:
    say(f"{folder}: cannot be written, so that every start goes through the data anew; let somebody who may start once")

"""Files within tar files, by paths that lead through them: `shards/train-000003.tar/000003017.jpg`.

A tar file is read by the offsets of what is in it, which are found out once and kept beside it; no file stays open.
Knows nothing of images.
"""

import os
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vlrnn.errors import UserError
from vlrnn.files import regular_file
from vlrnn.kept import kept_arrays

_BLOCK = 512  # a tar file consists of blocks of so many bytes


class Members(NamedTuple):
    """What is in a tar file: names, in the order of their bytes, and where the content of each starts and how long it
    is."""

    names: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    def find(self, name: str) -> tuple[int, int] | None:
        """Where a file starts and how long it is, if it is there."""
        wanted = _encoded(name)
        place = int(self.names.searchsorted(wanted))
        if place == len(self.names) or self.names[place] != wanted:
            return None
        return int(self.starts[place]), int(self.sizes[place])


def split_path(path: str | os.PathLike[str]) -> tuple[Path, str] | None:
    """The tar file that a path leads through and the name of the file in it; None where it leads through none."""
    outer, through, name = Path(path).as_posix().partition(".tar/")
    tar = Path(f"{outer}.tar")
    return (tar, name) if through and not tar.is_dir() else None


def read_file(path: Path) -> bytes:
    """The content of a file, or of one within a tar file.

    Raises:
        UserError: it cannot be read.
    """
    if within := split_path(path):
        return read_within(*within)
    regular_file(path)
    try:
        return path.read_bytes()
    except OSError as fault:
        raise UserError(f"{path}: cannot be read: {fault.strerror or fault}") from None


def read_within(tar: Path, name: str) -> bytes:
    """The content of a file within a tar file.

    Raises:
        UserError: the tar file is not there, is damaged or truncated, or has no such file.
    """
    found = members(tar).find(name)
    if found is None:
        raise UserError(f"{tar}/{name}: not in this tar file, which is another or damaged; copy it again")
    start, size = found
    try:
        with tar.open("rb") as file:
            file.seek(start)
            content = file.read(size)
    except OSError as fault:
        raise UserError(f"{tar}: cannot be read: {fault.strerror or fault}") from None
    if len(content) < size:
        raise UserError(f"{tar}/{name}: truncated, as the tar file is; copy it again")
    return content


def members(tar: Path) -> Members:
    """What is in a tar file; of several files by one name the last counts.

    Raises:
        UserError: as `read_within` says.
    """
    size, changed = stamp(tar)
    return _members(tar, size, changed)


def stamp(path: str | Path) -> tuple[int, int]:
    """The size in bytes and the time, in ns, of a file, or of the tar file that it is in: another one, another content.

    Raises:
        UserError: it is not there, or is no regular file.
    """
    within = split_path(path)
    status = regular_file(within[0] if within else path)
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1024)
def _members(tar: Path, size: int, changed: int) -> Members:
    return Members(**kept_arrays(tar, "members", lambda: _look_through(tar)._asdict()))


def _look_through(tar: Path) -> Members:
    places: dict[bytes, tuple[int, int]] = {}
    try:
        with tarfile.open(tar, "r:") as file:
            end = 0
            while (member := file.next()) is not None:
                if member.offset_data <= end:  # else a made-up size may lead round in circles
                    raise tarfile.ReadError(f"unexpected offset {member.offset_data}")
                end = member.offset_data
                if member.isreg() and not member.issparse():
                    places[_encoded(member.name)] = end, member.size
            _check_end(tar, file.offset)
    except UserError:
        raise
    except Exception as fault:  # what is raised on broken bytes is not documented, and varied
        reason = " ".join(str(fault).split()) or type(fault).__name__
        mend = "copy it again, and unpack it if it is compressed"
        raise UserError(f"{tar}: not a whole tar file: {reason}; {mend}") from None
    names = np.array(sorted(places), np.bytes_)
    starts, sizes = np.array([places[name] for name in sorted(places)], np.int64).reshape(-1, 2).T
    return Members(names, starts, sizes)


def _check_end(tar: Path, end: int) -> None:
    """Python takes a header that it cannot read for the end of the tar file; the true one is empty."""
    with tar.open("rb") as file:
        file.seek(end)
        if any(file.read(_BLOCK)):
            raise UserError(f"{tar}: not a whole tar file: damaged at byte {end:,}; copy it again")


def _encoded(name: str) -> bytes:
    return name.removeprefix("./").encode("utf-8", "surrogateescape")

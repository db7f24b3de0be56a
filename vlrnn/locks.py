"""Locks of files and folders between processes. What ends, even by a kill, holds none any more. Where the system or the
disk has no such locks, as some network disks have none, nobody is kept out."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vlrnn.errors import UserError

try:
    import fcntl
except ImportError:  # not of Unix
    fcntl = None  # type: ignore[assignment]

LOCKS = fcntl is not None
"""Whether the system has locks."""


def lock(handle: int) -> bool:
    """Lock an open file or folder until it is closed; False where another process has it, or another opening."""
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a disk without locks
            pass
    return True


_held: set[int] = set()  # the folders' handles


def _release_in_child() -> None:
    """A forked process holds what its parent does; one that loads examples, say, outlives a parent that is killed by
    seconds."""
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


@contextmanager
def alone(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Let no other process be within such a block of the same folder, which is made when absent; whoever comes later
    calls `waiting`, and waits, unless that raises.

    Raises:
        UserError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as fault:
        raise UserError(f"{folder}: cannot be written: {fault.strerror or fault}") from None
    _held.add(handle)
    try:
        if not lock(handle):
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle in _held:
            _held.remove(handle)
            os.close(handle)

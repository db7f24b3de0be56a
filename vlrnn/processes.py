"""Pools of worker processes, and locks of files and folders between processes.

A process releases its locks when it ends, also when it is killed. Systems and disks without locks (some network disks)
exclude nobody.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

from vlrnn.errors import UserError, accessing


@contextmanager
def workers(count: int, begin: Callable[[], None] | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of `count` processes, each of which calls `begin` first.

    When the body raises (as on Ctrl-C), or this process is killed, they end at once; a plain pool would first finish
    its work, and without its parent then wait for ever.

    Raises:
        UserError: one of them was killed.
    """
    # Spawned, not forked: a fork of a process with threads of torch can hang.
    context = get_context("spawn")
    ended, ours = context.Pipe(duplex=False)  # closed by the system when this process ends, for whatever reason
    pool = ProcessPoolExecutor(count, context, _begin, (ended, begin))
    try:
        yield pool
    except BaseException as fault:
        ours.close()
        pool.shutdown(cancel_futures=True)
        if isinstance(fault, BrokenProcessPool):
            raise UserError(
                "a worker process was killed, perhaps by the system because memory ran out; its unfinished work is lost"
            ) from None
        raise
    pool.shutdown()


def _begin(ended: Connection, begin: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    threading.Thread(target=_end_with, args=(ended,), daemon=True).start()
    if begin is not None:
        begin()


def _end_with(parent: Connection) -> None:
    wait([parent])
    os._exit(1)


try:
    import fcntl
except ImportError:  # not of Unix
    fcntl = None  # type: ignore[assignment]

LOCKS = fcntl is not None
"""Whether the system has locks."""


def lock(handle: int) -> bool:
    """Lock an open file or folder until it is closed; False if it is locked through another handle, of any process."""
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
    """Close the handles in a forked process: a data loader outlives a killed parent by seconds, with its locks."""
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


@contextmanager
def alone(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Lock a folder, which is created if absent, for the body. If another process has the lock, `waiting` is called,
    which may raise; then this one waits.

    Raises:
        UserError: the folder cannot be created.
    """
    with accessing(folder, "written"):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
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

"""Processes that work for this one, and end with it. Independent of the work."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait

from vlrnn.errors import UserError


@contextmanager
def workers(count: int, begin: Callable[[], None] | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of `count` processes, each of which calls `begin` first.

    When the body raises, Ctrl-C, say, or when this process is killed, they end at once. A pool that is left to itself
    does all that it was given before it ends, and one whose parent was killed does so and then waits for ever.

    Raises:
        UserError: one of them was ended from outside.
    """
    # Spawned, not forked: a fork of a process in which torch has started threads can hang.
    context = get_context("spawn")
    ended, ours = context.Pipe(duplex=False)  # the other end of which is closed when we end, however that is
    pool = ProcessPoolExecutor(count, context, _begin, (ended, begin))
    try:
        yield pool
    except BaseException as fault:
        ours.close()
        pool.shutdown(cancel_futures=True)
        if isinstance(fault, BrokenProcessPool):
            raise UserError(
                "a process that worked here was ended from outside, by the system for want of memory, perhaps; what "
                "it had not finished is lost"
            ) from None
        raise
    pool.shutdown()


def _begin(ended: Connection, begin: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, too, which knows what it is for
    threading.Thread(target=_end_with, args=(ended,), daemon=True).start()
    if begin is not None:
        begin()


def _end_with(parent: Connection) -> None:
    wait([parent])
    os._exit(1)

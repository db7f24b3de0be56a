"""A process that serves one request at a time, and is killed when one takes too long, as a thread cannot be.

Independent of the requests."""

import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from vlrnn.errors import UserError


class Worker:
    """Calls a function in a process of its own.

    Args:
        prepare: makes the function; runs in the process, so that it and `options` must pickle.
        options: the argument of `prepare`.
        seconds: of a call at most. After that its process is killed, and the next call has a new one.

    Raises:
        UserError: `prepare` raised it.
    """

    def __init__(self, prepare: Callable[[Any], Callable[..., Any]], options: Any, seconds: float) -> None:
        self._task = prepare, options
        self._seconds = seconds
        self._lock = threading.Lock()
        self._start()
        try:
            self._wait()
        except UserError:
            self.close()
            raise

    def __call__(self, *arguments: Any) -> Any:
        """The result of the function.

        Raises:
            UserError: the function raised it, took too long, failed, or its process ended.
        """
        with self._lock:
            if not self._ready:
                self._wait()
            return self._receive(arguments)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _start(self) -> None:
        # Spawned, not forked: a fork of a process in which threads run can hang. It ends with ours, as its pipe closes.
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._ready = False
        self._process = context.Process(target=_serve, args=(theirs, *self._task), daemon=True)
        self._process.start()
        theirs.close()

    def _restart(self) -> None:
        self.close()
        self._start()

    def _wait(self) -> None:
        self._receive()
        self._ready = True

    def _receive(self, arguments: tuple[Any, ...] | None = None) -> Any:
        """The result of a call; without `arguments` that of preparing, which has no limit of time."""
        try:
            if arguments is not None:
                self._pipe.send(arguments)
                if not self._pipe.poll(self._seconds):
                    self._restart()
                    raise UserError(f"this took longer than {self._seconds:g} seconds, and was ended")
            result = self._pipe.recv()
        except (EOFError, OSError):
            self._restart()
            raise UserError("the worker process was killed, perhaps for lack of memory; try again") from None
        if isinstance(result, UserError):
            raise result
        return result


def _serve(pipe: Connection, prepare: Callable[[Any], Callable[..., Any]], options: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, too, which ends this process
    try:
        function = prepare(options)
    except UserError as fault:
        pipe.send(fault)
        return
    pipe.send(None)
    while True:
        try:
            arguments = pipe.recv()
        except EOFError:
            return
        try:
            result = function(*arguments)
        except UserError as fault:
            result = fault
        except Exception:
            traceback.print_exc()
            result = UserError("this failed because of a bug, which is in the server's log")
        pipe.send(result)

"""`subprocess.run` and `subprocess.Popen` for commands of this interpreter, in processes that are forked from one that
has imported everything and computed nothing: each begins at once, where importing torch and Lightning takes seconds.

A command is `[sys.executable, "-m", MODULE | "-c", CODE | SCRIPT, *arguments]`. What differs from a new interpreter:
modules are imported already, and the environment counts from then on only (not `PYTHONIOENCODING`, say).
"""

import contextlib
import io
import os
import runpy
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess, TimeoutExpired
from typing import IO, Any

__all__ = ["DEVNULL", "PIPE", "CompletedProcess", "Popen", "run"]

PATIENCE = 300
"""Seconds that tests wait for an event, on however busy a machine. What takes so long hangs."""

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "vlrnn.training.cli",
        "vlrnn.commands.caption",
        "vlrnn.commands.ask",
        "vlrnn.inference.predictor",
        "torchvision.models",
    ]
)


class Popen:
    """A running command, with what tests use of `subprocess.Popen`; what goes through pipes is text.

    Args:
        command: as above.
        cwd, env, start_new_session: as there.
        stdout, stderr: PIPE, DEVNULL, a file descriptor, or a file.
        input: what stands on its stdin.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        start_new_session: bool = False,
        input: str = "",
    ) -> None:
        self.args = [str(word) for word in command]
        assert self.args[0] == sys.executable
        self.stdout, out = _opened(stdout, 1)
        self.stderr, err = _opened(stderr, 2)
        given = dict(os.environ if env is None else env)
        self._process = _CONTEXT.Process(
            target=_work, args=(self.args[1:], str(cwd or Path.cwd()), given, out, err, start_new_session, input)
        )
        self._process.start()
        out.close()
        err.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float = PATIENCE) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutExpired(self.args, timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.poll() is None:
                self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = PATIENCE) -> tuple[str, str]:
        """What it writes until its pipes are closed, and it has ended."""
        found = {1: "", 2: ""}

        def read(number: int, pipe: IO[str]) -> None:
            found[number] = pipe.read()

        pipes = [(number, pipe) for number, pipe in ((1, self.stdout), (2, self.stderr)) if pipe is not None]
        readers = [threading.Thread(target=read, args=each, daemon=True) for each in pipes]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
        if any(reader.is_alive() for reader in readers):
            raise TimeoutExpired(self.args, timeout)
        self.wait(timeout)
        return found[1], found[2]

    def __enter__(self) -> "Popen":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()


def run(
    command: Sequence[str | Path], *, capture_output: bool = False, timeout: float = PATIENCE, **more: Any
) -> "CompletedProcess[str]":
    """Run a command to its end."""
    if capture_output:
        more |= {"stdout": PIPE, "stderr": PIPE}
    with Popen(command, **more) as child:
        out, err = child.communicate(timeout)
        return CompletedProcess(child.args, child.wait(), out, err)


def _opened(wanted: int | IO[Any] | None, own: int) -> tuple[IO[str] | None, Connection]:
    """Our end of a pipe, where one is wanted, and what the child writes to, in the form that can be sent there."""
    if wanted == PIPE:
        ours, theirs = os.pipe()
        return os.fdopen(ours, encoding="utf-8", errors="replace"), Connection(theirs, readable=False)
    if wanted == DEVNULL:
        return None, Connection(os.open(os.devnull, os.O_WRONLY), readable=False)
    number = own if wanted is None else wanted if isinstance(wanted, int) else wanted.fileno()
    return None, Connection(os.dup(number), readable=False)


def _work(
    words: list[str],
    folder: str,
    environment: dict[str, str],
    out: Connection,
    err: Connection,
    own_session: bool,
    stdin: str,
) -> None:
    """In the child: become the command."""
    if own_session:
        os.setsid()
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    out.close()
    err.close()
    sys.stdin = io.StringIO(stdin)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    set_start_method(None, force=True)  # that of a new interpreter, not the one that this child was made by
    import torch

    torch.set_num_threads(1)
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path[0] = folder
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.path[0] = ""
        exec(words[1], {"__name__": "__main__"})
    else:
        sys.argv = list(words)
        sys.path[0] = str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")

"""Runs a case in this process, as the command line would, and judges how it ended.

Bad input ends with one line on stderr and exit code 2, or is taken; then nothing that is written is not a number.
"""

import contextlib
import io
import json
import os
import re
import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest import mock

import torch

from vlrnn.cli import main

SEED = 7
LIMIT = 30
"""Seconds of computing that a case may take; ten times as long by the clock, since the machine may be busy."""

MEMORY = 16 * 2**30
"""Bytes of address space that it may ask for."""


class Case(NamedTuple):
    """The command of vlrnn that is run."""

    arguments: Sequence[str]


Make = Callable[[Random, Any, Path], Case]


class Outcome(NamedTuple):
    """How a case ended: its exit code, and what is wrong with that, if anything is."""

    name: str
    code: int
    fault: str


class _HungError(BaseException):
    """Time is up. No `except Exception` shall hold it."""


class _StartedError(BaseException):
    """Another process was about to be started, which cases do not do: there would be thousands."""


def judge(kind: str, number: int, make: Make, world: Any, folder: Path) -> Outcome:
    """Make a case in a folder of its own, run it, judge it; the folder goes when nothing is wrong."""
    name = f"{kind} {number}"
    place = folder / name.replace(" ", "-")
    place.mkdir(parents=True)
    case = make(Random(f"{SEED} {name}"), world, place)
    result = _run(case, place)
    fault = _fault(case, result, place)
    if not fault:
        shutil.rmtree(place)
    command = " ".join(["vlrnn", *(ascii(word)[1:-1][:200] for word in case.arguments)])
    return Outcome(name, result.code, fault and f"{name} (in {place}): {command}\n{fault}")


class _Result(NamedTuple):
    code: int
    out: str
    err: str
    trace: str


def _run(case: Case, place: Path) -> _Result:
    out, err = io.StringIO(), io.StringIO()
    code, trace = -1, ""
    with _alone(place) as started, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with _limit():
                code = main(case.arguments)
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else -1
        except BaseException:
            trace = traceback.format_exc()
    if started:  # what comes behind is of our refusal
        return _Result(0, "", "", "")
    return _Result(code, out.getvalue(), err.getvalue(), trace)


def _fault(case: Case, result: _Result, place: Path) -> str:
    if result.trace:
        return result.trace
    if (place / "ran").exists():
        return "a pickle has run"
    if "Traceback (most recent" in result.err:
        return f"a traceback was printed: {result.err[-3000:]}"
    if result.code == 2:
        lines = result.err.splitlines()
        most = len(case.arguments) if case.arguments[0] == "ask" else 1  # a line for each question
        if not 1 <= len(lines) <= most or max(map(len, lines)) > 3000:
            return f"not one line, but {len(lines)}, of {len(result.err)} characters: {result.err[:1000]!a}"
        name = f"vlrnn {case.arguments[0]}"
        return next((f"not from {name}: {each}" for each in lines if name not in each.partition(": ")[0]), "")
    if result.code != 0:
        return f"exit code {result.code}: {result.err[:3000]}"
    if case.arguments[0] in ("score", "probe") and re.search(r"(?<![\w.])[-+]?(nan|inf)(?![\w.])", result.out):
        return f"not a number is told: {result.out[:3000]}"
    return _not_numbers(place / "out")


def _not_numbers(out: Path) -> str:
    """The first file of JSON that was written and has a number that is none."""
    for path in sorted(out.rglob("*.json*")) if out.is_dir() else ():
        found: list[str] = []
        read = json.JSONDecoder(parse_constant=found.append).raw_decode
        rest = path.read_text("utf-8")
        while rest and not found:
            rest = rest[read(rest)[1] :].lstrip()
        if found:
            return f"{path.name} has {found[0]}"
    return ""


@contextlib.contextmanager
def _limit() -> Iterator[None]:
    """Stop what takes too long. pytest's own clock stands still meanwhile."""

    def strike(*_: Any) -> None:
        raise _HungError(f"more than {LIMIT} seconds")

    before = signal.signal(signal.SIGALRM, strike)
    signal.signal(signal.SIGPROF, strike)
    left, _ = signal.setitimer(signal.ITIMER_REAL, 10 * LIMIT)
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[list[bool]]:
    """In its folder, with so much memory, and with settings of the process that the next case finds as they were; no
    other process is started, but noted."""
    started: list[bool] = []

    def refuse(*_: Any, **__: Any) -> None:
        started.append(True)
        raise _StartedError

    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, limits[1]))
    environment, folder, dtype = dict(os.environ), os.getcwd(), torch.get_default_dtype()
    os.chdir(place)
    try:
        with (
            warnings.catch_warnings(),
            mock.patch("subprocess.Popen", refuse),
            mock.patch("multiprocessing.process.BaseProcess.start", refuse),
            mock.patch("os.system", refuse),
        ):
            warnings.simplefilter("ignore")
            yield started
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        torch.use_deterministic_algorithms(False)
        torch.autograd.set_detect_anomaly(False)
        torch.set_default_dtype(dtype)
        torch.manual_seed(0)

"""Progress of long work on stderr: a bar with rate and time left on a terminal, plain lines at intervals
elsewhere, and nothing when it is to be quiet. Results never come here: stdout is theirs."""

import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from vlrnn.terminal import print_line

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")
Advance = Callable[[int], None]
"""Adds to the number of items that are done."""

FIRST, EVERY = 10.0, 30.0
"""Seconds until the first plain line, and from one to the next."""

_QUIET = "VLRNN_QUIET"


@contextmanager
def quiet_on_request(arguments: Sequence[str]) -> Iterator[list[str]]:
    """The arguments without `--quiet`; where it stood, no progress is printed within, nor in processes that are started
    there."""
    left = [each for each in arguments if each != "--quiet"]
    before = os.environ.get(_QUIET)
    if len(left) < len(arguments):
        os.environ[_QUIET] = "1"
    try:
        yield left
    finally:
        if before is None:
            os.environ.pop(_QUIET, None)


def is_shown() -> bool:
    """Whether this process prints progress: it is not quiet, and the first of those that train together."""
    ranks = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # of torchrun, of Lightning, of a cluster
    return all(os.environ.get(name, "0") == "0" for name in ranks) and not os.environ.get(_QUIET)


def print_progress(line: str) -> None:
    """Print a line about the work or its results on stderr, unless it is to be quiet, or another process prints it."""
    if is_shown():
        print_line(line, file=sys.stderr)


def track(items: Iterable[Item], description: str, *, total: int | None = None, unit: str = "items") -> Iterator[Item]:
    """The items, and progress with each that is done; `total` is needed where they have no length."""
    if total is None:
        assert isinstance(items, Collection)
        total = len(items)
    with progress(description, total, unit) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def progress(description: str, total: int, unit: str = "items", done: int = 0) -> Iterator[Advance]:
    """Report work that comes in parts of any size.

    Args:
        description: what is being done.
        total: how many there are.
        unit: what they are called.
        done: how many were done before, and do not count for the rate.
    """
    if not is_shown():
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(description, total, unit, done) as advance:
            yield advance
    else:
        lines = Lines(description, total, unit, done)
        yield lines.advance
        lines.finish()


def terminal_bar(transient: bool = False) -> "Progress":
    """A bar on stderr, of rich, whose tasks have a field `speed`; transient, it leaves nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.description}"), TextColumn("{task.fields[speed]}")
    columns = (text[0], BarColumn(), MofNCompleteColumn(), text[1], TimeRemainingColumn())
    # Results on stdout go where they belong, not above the bar.
    return Progress(*columns, console=Console(stderr=True), redirect_stdout=False, transient=transient)


@contextmanager
def _bar(description: str, total: int, unit: str, done: int) -> Iterator[Advance]:
    with terminal_bar() as bar:
        task = bar.add_task(description, total=total, completed=done, speed=unit)
        began, so_far = time.monotonic(), 0

        def advance(count: int) -> None:
            nonlocal so_far
            so_far += count
            bar.update(task, advance=count, speed=f"{unit}, {rate(so_far, time.monotonic() - began)}")

        yield advance


class Lines:
    """Progress as plain lines: one after some seconds, then one at intervals, and a last one if there was any.

    Args: as of `progress`.
    """

    def __init__(self, description: str, total: int, unit: str, done: int = 0) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.before = self.done = done
        self.began = time.monotonic()
        self.next = self.began + FIRST

    def advance(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        now = time.monotonic()
        if now >= self.next and self.done < self.total:
            self.next = now + EVERY
            done, seconds = self.done - self.before, now - self.began
            left = f", {span((self.total - self.done) * seconds / done)} left" if done else ""
            print_progress(f"{self._status()} of {self.total:,} {self.unit}, {rate(done, seconds)}{left}")

    def finish(self) -> None:
        """All that is to be done is done."""
        seconds = time.monotonic() - self.began
        if seconds >= FIRST:
            print_progress(f"{self._status()} {self.unit} in {span(seconds)}, {rate(self.done - self.before, seconds)}")

    def _status(self) -> str:
        return f"{self.description}: {self.done:,}"


def span(seconds: float) -> str:
    """Seconds for people: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def rate(done: int, seconds: float) -> str:
    """How fast work goes on: `12/s`, `3.4 s each`."""
    rate = done / max(seconds, 1e-6)
    if 0 < rate < 1:
        return f"{1 / rate:.1f} s each"
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"

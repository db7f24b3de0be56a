"""The process that the demo page's models work in."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vlrnn.demo.worker import Worker
from vlrnn.errors import UserError


def prepare(options: str) -> Callable[..., Any]:
    if options == "bad":
        raise UserError("no such model")
    return work


def work(request: str, number: float) -> Any:
    if request == "sleep":
        time.sleep(number)
    if request == "die":
        os._exit(1)
    if request == "refuse":
        raise UserError("a mistake")
    if request == "fail":
        raise ValueError("a fault")
    return number, os.getpid()


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    made = Worker(prepare, "good", seconds=3)
    yield made
    made.close()


def test_it_works_in_another_process(worker: Worker) -> None:
    number, process = worker("add", 3)
    assert number == 3
    assert process not in (os.getpid(), None)
    assert worker("add", 4) == (4, process)


@pytest.mark.parametrize(("request_", "complaint"), [("refuse", "a mistake"), ("fail", "because of a bug")])
def test_errors_come_back_and_it_goes_on(worker: Worker, request_: str, complaint: str) -> None:
    process = worker("add", 0)[1]
    with pytest.raises(UserError, match=complaint):
        worker(request_, 0)
    assert worker("add", 0)[1] == process


@pytest.mark.parametrize(("request_", "complaint"), [("sleep", "longer than 3 seconds"), ("die", "was killed")])
def test_what_takes_too_long_or_dies_stops_nobody(worker: Worker, request_: str, complaint: str) -> None:
    """The one who asked is told, and the next one has a new process."""
    process = worker("add", 0)[1]
    with pytest.raises(UserError, match=complaint):
        worker(request_, 3600)
    assert worker("add", 5)[0] == 5
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_mistake_in_preparing_is_reported() -> None:
    with pytest.raises(UserError, match="no such model"):
        Worker(prepare, "bad", seconds=3)

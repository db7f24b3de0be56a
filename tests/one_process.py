"""In the place of a pool of processes: all is done at once, and here."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

STUDIES = ("jobs", "sweep")


def in_one_process(patch: pytest.MonkeyPatch) -> None:
    """Let all studies train in this process: another takes seconds to begin."""
    for name in STUDIES:
        patch.setattr(f"vlrnn.studies.{name}.two_processes", OneProcess)


class OneProcess:
    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(function(*arguments))
        return done

    def __enter__(self) -> "OneProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass

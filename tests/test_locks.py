"""Locks between processes: one has a folder at a time, and what has ended has none."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vlrnn.processes import alone


class RefusedError(Exception):
    pass


def refuse() -> None:
    raise RefusedError


def test_a_folder_is_had_alone(tmp_path: Path) -> None:
    with alone(tmp_path / "run", refuse):
        with pytest.raises(RefusedError), alone(tmp_path / "run", refuse):
            pass
        with alone(tmp_path / "other", refuse):
            pass
    with alone(tmp_path / "run", refuse):
        pass


def test_a_child_does_not_hold_the_folder_of_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = "\n".join(
        [
            "import os, sys, time; from pathlib import Path; from vlrnn.processes import alone",
            "with alone(Path(sys.argv[1]), sys.exit):",
            "    if os.fork() == 0:",
            "        print(os.getpid(), flush=True)",
            "        os.kill(os.getppid(), 9)",
            "    time.sleep(600)",
        ]
    )
    done = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True)
    assert done.stdout
    child = int(done.stdout.readline())
    try:
        assert done.wait(60) == -signal.SIGKILL
        with alone(tmp_path, refuse):
            os.kill(child, 0)  # which is there still
    finally:
        os.kill(child, signal.SIGKILL)
        done.stdout.close()

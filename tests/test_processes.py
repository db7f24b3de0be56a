"""Processes that work for another end with it: when it is killed, when it is interrupted, when one of them is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import PATIENCE

from vlrnn.errors import UserError
from vlrnn.processes import workers

PROGRAM = """
import os, time
from vlrnn.processes import workers
if __name__ == '__main__':
    with workers(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        for _ in range(3):  # two of which wait for the first
            last = pool.submit(time.sleep, 600)
        last.result()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_they_end_with_whom_they_work_for(number: signal.Signals) -> None:
    chief = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert chief.stdout is not None
    worker = int(chief.stdout.readline())
    chief.send_signal(number)
    _, printed = chief.communicate(timeout=PATIENCE)
    assert "SpawnProcess" not in printed
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{worker}/stat").exists() and " Z " not in Path(f"/proc/{worker}/stat").read_text():
        if time.monotonic() > deadline:
            os.kill(worker, signal.SIGKILL)
            pytest.fail("it works on")
        time.sleep(0.1)


def test_one_that_is_lost_is_reported() -> None:
    with pytest.raises(UserError, match="worker process was killed"), workers(1) as pool:
        pool.submit(os.kill, pool.submit(os.getpid).result(), signal.SIGKILL).result()


def test_what_they_raise_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError), workers(1) as pool:
        pool.submit(divmod, 1, 0).result()

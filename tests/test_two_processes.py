"""Studies train two models at a time, in processes of their own."""

import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.mark.slow
def test_who_trains_ends_with_a_study_that_is_killed() -> None:
    program = "\n".join(
        [
            "import os, time",
            "from vlrnn.studies.training import two_processes",
            "if __name__ == '__main__':",
            "    with two_processes() as pool:",
            "        print(pool.submit(os.getpid).result(), flush=True)",
            "        pool.submit(time.sleep, 600).result()",
        ]
    )
    study = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert study.stdout is not None
    worker = int(study.stdout.readline())
    study.send_signal(signal.SIGKILL)
    study.wait()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("it trains on")

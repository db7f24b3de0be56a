"""Runs the command line in child processes that are killed in the middle: a script for the tests of resuming.

Children are forked from a process that has imported everything and computed nothing, so that each begins within a
fraction of a second. It reads a list of what to run from stdin, and writes what came of it to stdout, as JSON.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from vlrnn.cli import main
from vlrnn.files import read_json
from vlrnn.training.checkpoint import read_checkpoint
from vlrnn.training.cli import run_recipe  # noqa: F401 (imported once, for all children)


def begin(arguments: Sequence[str], log: Path) -> int:
    """Start `vlrnn` with these arguments in a child; its process id."""
    child = os.fork()
    if child == 0:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        torch.set_num_threads(1)
        code = 70
        try:
            code = main(list(arguments))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def finish(child: int, seconds: float) -> int | None:
    """Give a child so many seconds, then kill it: its exit code, or None when it was killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def check(folder: Path) -> None:
    """Whatever has its name is whole: checkpoints, records, JSON, YAML, and caches that say that they are made."""
    for path in folder.rglob("*.ckpt"):
        read_checkpoint(path)
    for path in folder.rglob("*.json"):
        read_json(path)
    for path in folder.rglob("*.jsonl"):
        assert all(isinstance(json.loads(line), dict) for line in path.read_text().splitlines()), path
    for path in folder.rglob("*.yaml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict), path
    for path in folder.rglob("index.json"):
        regions = np.load(path.with_name("regions.npy"), mmap_mode="r")
        assert (np.abs(regions).max((1, 2)) > 0).all(), path  # no row was left out


def run(arguments: Sequence[str], log: Path, kills: int, longest: float, draw: random.Random) -> int:
    """Run to the end, killed up to `kills` times on the way after up to `longest` seconds each; how often it was."""
    killed, code = 0, None
    while code is None:
        code = finish(begin(arguments, log), draw.uniform(0, longest) if killed < kills else 300)
        killed += code is None
        check(log.parent)
    if code:
        sys.exit(f"exit code {code}: {log.read_text()[-3000:]}")
    return killed


def compare(arguments: Sequence[str], folder: str, kills: int, seed: int, spare: Sequence[str]) -> int:
    """Run once without a kill, and with some, again and again until there were `kills` in all. What is in `folder`
    after each is moved to `whole` and `killed-N` beside it, and with it what `spare` names, so that all make it anew.

    Returns:
        how often it ran with kills.
    """
    run_folder, draw, log = Path(folder), random.Random(seed), Path(folder).with_name("log.txt")
    began = time.monotonic()
    killed, times = run(arguments, log, 0, 0, draw), 0
    longest = time.monotonic() - began
    put_away(run_folder, "whole", spare)
    while killed < kills:
        killed += run(arguments, log, min(5, kills - killed), longest, draw)
        put_away(run_folder, f"killed-{times}", spare)
        times += 1
    return times


def put_away(run_folder: Path, name: str, spare: Sequence[str]) -> None:
    run_folder.rename(run_folder.with_name(name))
    for each in filter(Path.exists, map(Path, spare)):
        each.rename(run_folder.with_name(name) / each.name)


if __name__ == "__main__":
    print(json.dumps(compare(**json.loads(sys.stdin.read()))))

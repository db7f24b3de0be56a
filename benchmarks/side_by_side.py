"""What the benchmarks share: two or more ways to do the same, measured in turns within one process, and told as ratios.

Times are of the processor, on one thread: what else the machine does moves them least.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from vlrnn.files import write_json


def arguments_of(doc: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="turns; the median counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="small sizes, one turn: whether it runs")
    parser.add_argument("--out", metavar="FILE", help="write the figures as JSON")
    return parser


def begin(arguments: argparse.Namespace) -> None:
    """One thread, and the seed."""
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)


def in_turns(ways: Mapping[str, Callable[[], Any]], repeats: int, warm: bool = True) -> dict[str, float]:
    """The median CPU seconds of each way; the ways take turns, after a first run each that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    if warm:
        for way in ways.values():
            way()
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.process_time()
            way()
            seconds[name].append(time.process_time() - began)
    return {name: statistics.median(each) for name, each in seconds.items()}


def told(title: str, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Print the times, and how many times as fast as the first the others are; the same as plain data."""
    first = next(iter(seconds.values()))
    print(title)
    for name, each in seconds.items():
        print(f"  {name:44} {each:9.4f} s   {first / each:6.2f} times as fast")
    return {"seconds": dict(seconds), "ratios": {name: first / each for name, each in seconds.items()}}


def keep(arguments: argparse.Namespace, figures: Mapping[str, Any]) -> None:
    """Write the figures, and what they were made on, where that is wanted."""
    if arguments.out:
        known: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        machine = {"processor": platform.processor() or platform.machine(), "name": known.get("cpu_name", "")}
        made = {"torch": torch.__version__, "python": platform.python_version(), **machine}
        write_json(arguments.out, {"figures": figures, "settings": vars(arguments), "made": made})
    else:
        json.dumps(figures)  # what could not be written is found without --out, too

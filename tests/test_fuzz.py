"""Made-up bad input of every kind: each ends in time, in one line and exit code 2, or is taken; never in a traceback.

A case is a number: `VLRNN_FUZZ=123 python -m pytest "tests/test_fuzz.py::test_bad_input[lines]"` runs that one alone.
"""

import os
import pickle
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fuzzing import caches, checkpoints, images, lines, recipes, results, running, runs, tables, texts
from fuzzing.running import Case, Make, Outcome, judge
from fuzzing.world import World

KINDS: dict[str, Make] = {
    "images": images.make,
    "lines": lines.make,
    "captions": texts.captions,
    "questions": texts.questions,
    "recipes": recipes.make,
    "checkpoints": checkpoints.make,
    "tables": tables.make,
    "results": results.make,
    "caches": caches.make,
    "runs": runs.make,
}
TRAINED = ("caches", "runs")
"""Kinds of which each case trains a model."""


def few(kind: str) -> int:
    return 3 if kind in TRAINED else 8


def many(kind: str) -> int:
    """Of all kinds together 640; with VLRNN_FUZZ_TIMES=5 in the environment 3,200."""
    return (20 if kind in TRAINED else 75) * int(os.environ.get("VLRNN_FUZZ_TIMES", "1"))


def numbers(count: int) -> list[int]:
    one = os.environ.get("VLRNN_FUZZ")
    return list(range(count)) if one is None else [int(one)]


@pytest.mark.parametrize("kind", list(KINDS))
def test_bad_input(kind: str, world: World, tmp_path: Path) -> None:
    outcomes = [judge(kind, number, KINDS[kind], world, tmp_path) for number in numbers(few(kind))]
    assert_faultless(outcomes)
    assert {outcome.code for outcome in outcomes} <= {0, 2}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", list(KINDS))
def test_many_bad_inputs(kind: str, world: World, tmp_path: Path) -> None:
    began = time.monotonic()
    outcomes = [judge(kind, number, KINDS[kind], world, tmp_path) for number in numbers(many(kind))]
    assert_faultless(outcomes)
    codes = Counter(outcome.code for outcome in outcomes)
    printed = f"{kind:<12}{codes[2]:>6} refused{codes[0]:>6} taken"
    print(f"\n{printed}, seed {running.SEED}, {time.monotonic() - began:.0f} seconds")
    assert codes[0]
    rare = {"caches": 0, "captions": len(outcomes) // 100}  # most texts are captions
    assert codes[2] >= rare.get(kind, len(outcomes) // 50)  # else it was no bad input


def assert_faultless(outcomes: list[Outcome]) -> None:
    faults = [outcome.fault for outcome in outcomes if outcome.fault]
    assert not faults, f"{len(faults)} of {len(outcomes)}:\n\n" + "\n\n".join(faults[:20])


# The judge itself.


def judged(work: Callable[[], Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    monkeypatch.setattr("vlrnn.commands.report.run", lambda _: work())
    return judge("report", 1, lambda *_: Case(["report", "run", "--out", "out/page.html"]), None, folder)


def test_a_fault_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def print_and_return(line: str, code: int) -> int:
        import sys

        print(line, file=sys.stderr)
        return code

    def not_a_number() -> None:
        Path("out").mkdir()
        Path("out/a.json").write_text('{"value": NaN}')

    ways: dict[str, tuple[Callable[[], Any], str]] = {
        "fault": (lambda: 1 / 0, "ZeroDivisionError"),
        "hung": (lambda: time.sleep(5), "more than 0.02 seconds"),
        "two lines": (lambda: print_and_return("vlrnn report: a\nb", 2), "not one line, but 2"),
        "not ours": (lambda: print_and_return("a", 2), "not from vlrnn report"),
        "code": (lambda: print_and_return("a", 1), "exit code 1"),
        "not a number": (not_a_number, "a.json has NaN"),
        "pickle": (lambda: pickle.loads(pickle.dumps(checkpoints.Canary(0))), "a pickle has run"),
    }
    monkeypatch.setattr(running, "LIMIT", 0.02)
    for name, (work, fault) in ways.items():
        outcome = judged(work, tmp_path / name, monkeypatch)
        assert fault in outcome.fault
        assert "vlrnn report run --out out/page.html" in outcome.fault
    assert judged(lambda: print_and_return("vlrnn report: a", 2), tmp_path / "good", monkeypatch) == Outcome(
        "report 1", 2, ""
    )
    assert not list((tmp_path / "good").iterdir())


def test_no_process_is_started_and_no_setting_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS), Path.cwd(), dict(os.environ)

    def start() -> None:
        os.environ["LEFT"] = "1"
        os.chdir("/")
        os.system("touch started")

    assert judged(start, tmp_path, monkeypatch) == Outcome("report 1", 0, "")
    assert before == (resource.getrlimit(resource.RLIMIT_AS), Path.cwd(), dict(os.environ))


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_case_is_the_same_each_time(kind: str, world: World, tmp_path: Path) -> None:
    made = []
    for place in (tmp_path / "one", tmp_path / "two"):
        place.mkdir()
        (arguments,) = KINDS[kind](Random(f"{kind} 3"), world, place)
        files = {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        made.append(([word.replace(str(place), "") for word in arguments], files))
    assert made[0] == made[1]

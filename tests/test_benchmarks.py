"""The benchmarks run, and hold what they say of both sides: equal losses, identical captions. Their speed is no test's
business."""

import json
import sys
from pathlib import Path

import forked
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
QUICK = (
    "attention_training",
    "beam_search",
    "encoder",
    "growth",
    "recurrence",
    "scale",
    "steadiness",
    "vqa_training",
    "whole_path",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_benchmarks_run(name: str, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = forked.run([sys.executable, BENCHMARKS / f"{name}.py", "--quick", "--out", out], capture_output=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["settings"]["quick"] is True
    assert found["figures"]
    assert "Warning" not in done.stderr


def test_every_benchmark_is_run_here() -> None:
    printed = {path.stem for path in BENCHMARKS.glob("*.py") if "arguments_of(__doc__)" in path.read_text()}
    assert printed == set(QUICK)

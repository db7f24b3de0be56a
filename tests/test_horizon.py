"""`vlrnn study horizon`: tasks of memory, and for how long cells learn to remember."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from one_process import in_one_process

from vlrnn.cli import main
from vlrnn.errors import UserError
from vlrnn.report.content import build
from vlrnn.studies.cells.horizon import TASKS, Adding, Copying, HorizonPlan, _reached


def test_what_is_to_be_copied() -> None:
    task = Copying(symbols=3, items=2)
    drawn = task.draw(500, 5, torch.Generator().manual_seed(0))
    symbols = drawn.inputs.argmax(-1)
    assert drawn.inputs.shape == (500, 2 + 5 + 2, task.inputs) == (500, 9, 5)
    assert (drawn.inputs.sum(-1) == 1).all()
    assert torch.equal(symbols[:, :2], drawn.targets)
    assert (symbols[:, 2:7] == 3).all()
    assert (symbols[:, 7] == 4).all()  # the sign
    assert (symbols[:, 8] == 3).all()
    assert set(drawn.targets.unique().tolist()) == {0, 1, 2}
    right = torch.nn.functional.one_hot(drawn.targets, 3).float()
    outputs = torch.cat([torch.randn(500, 7, 3), right], 1)
    assert task.error(outputs, drawn.targets) == 0
    assert task.error(torch.randn(500, 9, 3), drawn.targets) == pytest.approx(task.chance, abs=0.05)
    assert task.loss(1000 * outputs, drawn.targets) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("length", [2, 3, 9])
def test_what_is_to_be_added(length: int) -> None:
    task = Adding()
    drawn = task.draw(3000, length, torch.Generator().manual_seed(0))
    numbers, marks = drawn.inputs.unbind(-1)
    assert set(marks.unique().tolist()) <= {0, 1}
    half = length // 2
    assert (marks[:, :half].sum(1) == 1).all()
    assert (marks[:, half:].sum(1) == 1).all()
    torch.testing.assert_close(drawn.targets, (numbers * marks).sum(1))
    outputs = torch.randn(3000, length, 1)
    outputs[:, -1, 0] = drawn.targets
    assert task.error(outputs, drawn.targets) == 0
    outputs[:, -1, 0] = 1  # which nothing that was heard can better
    assert task.error(outputs, drawn.targets) == pytest.approx(task.chance, abs=0.01)


def test_the_horizon_is_the_end_of_what_was_solved_without_a_gap() -> None:
    solved = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0]], bool)
    assert _reached(solved, (4, 8, 16)).tolist() == [16, 4, 0, 8]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    in_one_process(monkeypatch)

    def run(*arguments: str) -> int:
        command = ["study", "horizon", "--out", str(tmp_path / "out"), "--width", "24", "--rows", "32", "--seeds", "1"]
        return main([*command, *arguments])

    return run


def test_what_is_near_is_remembered_sooner(study: Callable[..., int], tmp_path: Path) -> None:
    flags = ["--cells", "rnn,lstm:chrono=9", "--tasks", "copy", "--lengths", "2", "40", "--steps", "120"]
    assert study(*flags) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    rnn = found["scores"]["copy"]["rnn"]
    assert rnn["at_2"]["value"] < rnn["at_40"]["value"]
    assert rnn["at_2"]["value"] < found["settings"]["solved_below"]["copy"]
    assert rnn["horizon"]["value"] == 2
    chance = found["baselines"]["chance"]["copy"]["rnn"]["at_40"]["value"]
    assert chance == TASKS["copy"].chance
    assert (tmp_path / "out" / "horizon.png").is_file()
    finished = tmp_path / "out" / "learnt" / "copy-lstm-chrono-9-0.json"
    before = finished.stat().st_mtime_ns
    assert study(*flags, "--seeds", "2") == 0  # one more, and no other again
    assert finished.stat().st_mtime_ns == before
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["scores"]["copy"]["rnn"]["at_2"]["n"] == 2
    (printed,) = build([tmp_path / "out"], [], examples=0)[0].studies
    assert [name for name, _ in printed.rows] == ["copy: rnn", "copy: lstm:chrono=9"]
    assert study(*flags, "--steps", "151") == 2


def test_a_seed_is_one_course(study: Callable[..., int], tmp_path: Path) -> None:
    flags = ["--cells", "gru", "--tasks", "add", "--lengths", "2", "--steps", "5"]
    assert study(*flags) == 0
    first = (tmp_path / "out" / "learnt" / "add-gru-0.json").read_text()
    assert study(*flags, "--out", str(tmp_path / "again")) == 0
    assert (tmp_path / "again" / "learnt" / "add-gru-0.json").read_text() == first


MISTAKES = [
    (["--cells", "nonsense"], "nonsense: no recurrence"),
    (["--cells", "bidirectional:recurrence=gru"], "in question encoders only"),
    (["--cells", ""], "names no recurrence"),
    (["--tasks", "forget"], "--tasks: no task forget; there are copy, add"),
    (["--lengths", "8", "4"], "--lengths must increase"),
    (["--lengths", "1"], "--lengths must increase, from 2"),
    (["--steps", "0"], "--steps must be at least 1"),
    (["--lr", "0"], "--lr must be above 0"),
]


def test_mistakes_are_reported(
    subtests: pytest.Subtests, study: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, complaint in MISTAKES:
        with subtests.test(arguments=arguments, complaint=complaint):
            assert study(*arguments) == 2
            assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_plans_have_seeds() -> None:
    with pytest.raises(UserError, match="--seeds must be at least 1"):
        HorizonPlan(seeds=0)

"""Progress on stderr: a bar on a terminal, plain lines elsewhere, nothing when quiet; results are the same."""

import os
import pty
import re
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
from quick import quick

from vlrnn import progress as progress_module
from vlrnn.progress import Lines, progress, quiet_on_request, span, track


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def work(clock: Clock, seconds: float, count: int = 1024, done: int = 0) -> None:
    """So many items, one by one, in so much time."""
    with progress("working", count, "images", done=done) as advance:
        for _ in range(count - done):
            clock.now += seconds / (count - done)
            advance(1)


def test_lines_come_at_intervals(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    work(clock, 128)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "working: 80 of 1,024 images, 8.0/s, 1 min 58 s left",
        "working: 320 of 1,024 images, 8.0/s, 1 min 28 s left",
        "working: 560 of 1,024 images, 8.0/s, 58 s left",
        "working: 800 of 1,024 images, 8.0/s, 28 s left",
        "working: 1,024 images in 2 min 8 s, 8.0/s",
    ]


def test_short_work_tells_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    work(clock, 9)
    assert capsys.readouterr().err == ""


def test_what_was_done_before_is_no_speed(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    work(clock, 20, count=1000, done=980)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "working: 990 of 1,000 images, 1.0/s, 10 s left"
    assert last == "working: 1,000 images in 20 s, 1.0/s"


def test_slow_work_tells_what_one_takes(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    work(clock, 400, count=20)
    assert "working: 1 of 20 images, 20.0 s each, 6 min 20 s left" in capsys.readouterr().err


def test_nothing_is_reported_when_quiet(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with quiet_on_request(["a", "--quiet", "b"]) as left:
        assert left == ["a", "b"]
        work(clock, 100)
        lines = Lines("epoch", 10, "batches")
        clock.now += 100
        lines.advance(1)
        lines.finish()
    assert capsys.readouterr().err == ""
    work(clock, 100)
    assert capsys.readouterr().err != ""


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_one_process_of_several_tells(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    work(clock, 100)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(variable, "0")
    work(clock, 100)
    assert capsys.readouterr().err != ""


def test_items_pass_through() -> None:
    assert list(track([3, 1, 2], "x")) == [3, 1, 2]
    assert list(track((each for each in "ab"), "x", total=2)) == ["a", "b"]
    for each in track([1, 2, 3], "x"):  # left early
        assert each == 1
        break


def test_spans(subtests: pytest.Subtests) -> None:
    for seconds, message in [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 5 min"),
    ]:
        with subtests.test(seconds=seconds, message=message):
            assert span(seconds) == message


# On the real command line.

Ran = tuple[int, str, str]


def run(arguments: list[str], terminal: bool) -> Ran:
    """Exit code, stdout and stderr of a command whose stderr is a terminal, or is none."""
    command = [sys.executable, *arguments]
    if not terminal:
        done = forked.run(command, capture_output=True)
        return done.returncode, done.stdout, done.stderr
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    child = forked.Popen(command, stdout=forked.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    printed = b""
    try:
        while part := os.read(ours, 4096):
            printed += part
    except OSError:  # how the end of a terminal is told
        pass
    os.close(ours)
    assert child.stdout is not None
    out = child.stdout.read()
    return child.wait(), out, printed.decode()


@pytest.fixture
def commands(checkpoints: Any, dataset: Path, photos: Path, tmp_path: Path) -> dict[str, list[str]]:
    """Every kind of long work, but what trains."""
    model, scenes = ["--checkpoint", str(checkpoints.file)], str(tmp_path / "scenes")
    few = ["--train", "12", "--val", "2", "--test", "2", "--workers", "1", "--image_size", "32"]
    probe = ["grounding", *model, "--data", str(dataset), "--resamples", "10"]
    return {
        "preparing": ["data_prep/synthetic.py", "--out", scenes, *few],
        "captioning": ["-m", "vlrnn", "caption", str(dataset / "images"), *model],
        "probing": ["-m", "vlrnn", "probe", *probe],
    }


@pytest.mark.parametrize("name", quick(["preparing", "captioning", "probing"], "captioning"))
def test_results_do_not_hang_on_progress(commands: dict[str, list[str]], name: str) -> None:
    """A bar with the rate stands on a terminal, and none with --quiet; what is said on stdout is the same."""
    code, out, bar = run(commands[name], terminal=True)
    assert code == 0
    assert re.search(r"\d+/\d+.*(/s|s each)", bar)
    assert run([*commands[name], "--quiet"], terminal=True) == (0, out, "")


def test_training_tells_of_itself(dataset: Path, classifier_file: Path, tmp_path: Path) -> None:
    recipe = Path("configs/flickr8k.yaml").resolve()
    encoder = "--model.init_args.encoder.init_args"
    arguments = ["-m", "vlrnn", "fit", "--config", str(recipe), "--data.root", str(dataset), "--data.cache", "null"]
    arguments += [f"{encoder}.name", "mobilenet_v3_small", f"{encoder}.weights", str(classifier_file)]
    arguments += [f"{encoder}.image_size", "64", "--trainer.max_epochs", "1", "--trainer.default_root_dir"]
    code, out, bar = run([*arguments, str(tmp_path / "bar")], terminal=True)
    assert code == 0, bar
    assert "epoch 1 of 1" in bar
    assert re.search(r"best val/CIDEr: \S+ \(epoch 1\); the run is in \S+bar\s+next: vlrnn test ", out)
    assert run([*arguments, str(tmp_path / "quiet"), "--quiet"], terminal=False) == (0, "", "")

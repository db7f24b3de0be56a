"""A folder that cannot be written, and a disk that fills: told in one line, with exit code 2; what was there stays, and
nothing is left that is half written."""

import errno
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vlrnn.cli import main
from vlrnn.data.feature_cache import open_cache
from vlrnn.errors import UserError, translating_file_errors
from vlrnn.files import replacing
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.training.resuming import RunLog

SCORE = (
    "score captions --no-java --resamples 10 --references {captions/test.jsonl} --predictions {files/captions.jsonl}"
)
ANSWERS = "--references {files/questions.json} --predictions {files/answers.json}"
CAPTION = "caption {images/test-000001.png} --checkpoint {captioner-exported}"
TRUTH = "--predictions {files/captions.jsonl} --examples {captions/test.jsonl} --resamples 10"
POINT = "--ckpt_path {captioner/checkpoints/best.ckpt} --trainer.logger false"
COMMANDS = {
    "scores": f"{SCORE} --out OUT/scores.json",
    "scores of images": f"{SCORE} --per_image OUT/each.jsonl",
    "answers for the server": f"score vqa {ANSWERS} --official OUT/send.json",
    "probe": f"probe scene_truth {TRUTH} --out OUT/found.json",
    "report": "report {captioner} --out OUT/page.html",
    "captions as JSON": f"{CAPTION} --out OUT/said.json --overwrite",
    "captions as lines": f"{CAPTION} --out OUT/said.jsonl --overwrite",
    "captions as a table": f"{CAPTION} --out OUT/said.csv --overwrite",
    "picture": f"{CAPTION} --explain OUT/attention.png",
    "export": "export --checkpoint {captioner/checkpoints/best.ckpt} --out OUT",
    "cache": "cache --config {captioner.yaml} --data.cache OUT",
    "training": "fit --config {captioner.yaml} --trainer.default_root_dir OUT",
    "test": f"test --config {{captioner.yaml}} {POINT} --trainer.default_root_dir OUT",
    "data set": "prepare folder {images} --captions {files/captions.csv} --out OUT",
    "polls": "prepare pope {files/objects.json} --out OUT",
    "scenes": "quickstart --train 4 --val 2 --test 2 --out OUT",
}


def run(world: Any, command: str, out: Path) -> int:
    words = command.replace("{", f"{world.folder}/").replace("}", "").replace("OUT", str(out)).split()
    return main([*words, "--quiet"])


def one_line(printed: str, *words: str) -> None:
    assert printed.count("\n") == 1, printed
    for word in words:
        assert word in printed


@contextmanager
def full(room: int) -> Iterator[None]:
    """No file grows beyond `room` bytes: writing fails in the middle, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("what", list(COMMANDS))
def test_a_folder_that_cannot_be(world: Any, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It would lie below a file; that holds for root too, whom no right is refused."""
    (tmp_path / "file").write_text("old")
    assert run(world, COMMANDS[what], tmp_path / "file" / "out") == 2
    one_line(capsys.readouterr().err, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "old"


NEW_FILES = [what for what in COMMANDS if what not in ("test", "training", "scenes")]
ROOM = {"answers for the server": 10, "polls": 10}


@pytest.mark.parametrize("what", NEW_FILES)
def test_a_disk_that_fills(world: Any, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(world, COMMANDS[what], out if what != "picture" else tmp_path) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert before
    if what == "cache":  # which would only be found made
        for path in before:
            path.unlink()
        before = {}
    capsys.readouterr()
    with full(ROOM.get(what, 100)):
        assert run(world, COMMANDS[what], out if what != "picture" else tmp_path) == 2
    one_line(capsys.readouterr().err, "cannot be written", str(tmp_path), "File too large")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_disk_that_is_read_only(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.json").write_text("old")

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path))

    monkeypatch.setattr(tempfile, "mkstemp", refused)
    assert run(world, COMMANDS["scores"], tmp_path) == 2
    one_line(capsys.readouterr().err, "scores.json: cannot be written: Read-only file system")
    assert (tmp_path / "scores.json").read_text() == "old"


def test_scores_of_a_test_on_a_full_disk(world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recipe has room, the predictions have not."""
    assert run(world, COMMANDS["test"], tmp_path) == 0
    before = {name: (tmp_path / name).read_bytes() for name in ("predictions.jsonl", "metrics.json")}
    capsys.readouterr()
    with full(100):
        assert run(world, COMMANDS["test"], tmp_path) == 2
    one_line(capsys.readouterr().err.splitlines(keepends=True)[-1], "predictions.jsonl: cannot be written")
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert not list(tmp_path.glob(".*"))


def test_a_checkpoint_on_a_full_disk(world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recipe and the log have room; torch tells of the disk in words of its own."""
    with full(20_000):
        assert run(world, COMMANDS["training"], tmp_path) == 2
    one_line(capsys.readouterr().err.splitlines(keepends=True)[-1], "best.ckpt: cannot be written: File too large")
    assert not [*tmp_path.rglob("*.ckpt"), *tmp_path.rglob(".*")]


def test_a_log_on_a_full_disk(tmp_path: Path) -> None:
    """A row that is cut off is none to a run that goes on."""
    log = RunLog(str(tmp_path))
    log.log_metrics({"loss": 1.5}, step=0)
    log.save()
    log.log_metrics({"loss": 2.5}, step=1)
    with full(16), pytest.raises(UserError, match=r"log\.csv: cannot be written: File too large"):
        log.save()
    RunLog(str(tmp_path)).forget(1)
    assert (tmp_path / "log.csv").read_text().split() == ["loss,step", "1.5,0"]


def test_a_cache_takes_its_place_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map without place on the disk would be there, but end the process as its rows are written."""
    (tmp_path / "a.png").write_bytes(b"not read")

    def refused(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refused, raising=False)
    with pytest.raises(UserError, match=r"regions\.npy: cannot be written: No space left on device; it takes 0\.0 MiB"):
        open_cache(tmp_path / "cache", "train", BlindEncoder(), {"a": tmp_path / "a.png"})
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_fault_of_another_file_is_not_reported_of_this(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        (tmp_path / "absent").read_text()
    assert not list(tmp_path.iterdir())


def test_what_the_file_system_refuses_is_a_mistake_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: cannot be read or written: No such file"), translating_file_errors():
        (tmp_path / "absent").read_text()
    with pytest.raises(UserError, match="No space left"), translating_file_errors():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for other in (ConnectionResetError(errno.ECONNRESET, "reset"), BrokenPipeError()):
        with pytest.raises(type(other)), translating_file_errors():
            raise other

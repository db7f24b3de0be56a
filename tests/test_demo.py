"""The demo scripts: they run, as a person would run them."""

import io
import math
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
from PIL import Image

from vlrnn.data.records import Prediction
from vlrnn.inference.predictor import Predictor

CAPTION = Path(__file__).parents[1] / "demo" / "caption.py"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> Any:
    """The script in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", [str(CAPTION), *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(CAPTION), run_name="__main__")
    return left.value.code


def test_caption_for_real(checkpoints: Any, photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(CAPTION), "photos/a.png", "--checkpoint", str(checkpoints.file)]
    done = forked.run([*command, "--picture", "attention.png"], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    caption, *rest = done.stdout.splitlines()
    words = [re.fullmatch(r" +(?:< |> )?\d+\.\d %  (.+)", line) for line in rest if line.startswith("  ")]
    assert "red" in caption
    assert [word and word[1] for word in words] == caption.lower().rstrip(".").split()
    assert [line.partition(":")[0] for line in rest if ":" in line] == ["or", "or", "at random"]
    assert rest[-1] == "open attention.png"
    with Image.open(tmp_path / "attention.png") as picture:
        picture.load()


def test_caption_without_a_picture(
    checkpoints: Any, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, photos / "a.png", "--checkpoint", checkpoints.plain) == 0
    printed = capsys.readouterr()
    assert "at random: " in printed.out
    assert printed.err == ""


def test_caption_tells_mistakes(
    checkpoints: Any,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture = tmp_path / "attention.png"
    for arguments, word in (
        ([photos / "absent.png", "--checkpoint", checkpoints.file], "absent.png"),
        ([photos / "a.png", "--checkpoint", photos / "a.png"], "a.png"),
        ([photos / "a.png", "--checkpoint", checkpoints.plain, "--picture", picture], "has no attention"),
    ):
        assert run(monkeypatch, *arguments) == 2
        printed = capsys.readouterr().err.splitlines()
        assert len(printed) == 1
        assert printed[0].startswith("caption: ")
        assert word in printed[0]
    assert not picture.exists()


class _Hostile:
    """A model of somebody's who would have the terminal do something, and who is not sure at all."""

    def caption(self, image: str, **settings: Any) -> Prediction:
        evil = "\x1b]0;owned\x07"
        return Prediction(
            1, 1, f"{evil} 猫", tokens=(evil,), log_probs=(math.log(1e-9),), alternatives=({"text": evil},)
        )

    def attention(self, image: str, tokens: Any) -> None:
        return None


def test_caption_shows_what_a_stranger_wrote_with_escapes(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Predictor, "load", lambda path: _Hostile())
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content := io.BytesIO(), "ascii"))
    assert run(monkeypatch, photos / "a.png", "--checkpoint", "evil.ckpt") == 0
    sys.stdout.flush()
    evil = r"\x1b]0;owned\x07"
    printed = content.getvalue().decode().splitlines()
    assert printed == [rf"{evil} \u732b", f"   < 0.1 %  {evil}", f"or: {evil}", rf"at random: {evil} \u732b"]

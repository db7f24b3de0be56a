"""What the tests of `vlrnn prepare` share: running it, and making its input."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlrnn.cli import main
from vlrnn.data.records import Example, open_split

SCRIPTS = Path(__file__).parent.parent / "data_prep"


class Script:
    """Runs `vlrnn prepare` in this process: `run` gives the exit code, `printed` and `error` are what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], out: Path) -> None:
        self.capsys = capsys
        self.out = out

    def run(self, name: str, *arguments: Any) -> int:
        code = main(["prepare", name, *map(str, arguments), "--out", str(self.out)])
        self.printed, self.error = self.capsys.readouterr()
        return code

    def refuses(self, name: str, *arguments: Any) -> str:
        """Run it, which must refuse its input in one line on stderr and write nothing; the line."""
        assert self.run(name, *arguments) == 2
        assert self.error.count("\n") == 1, self.error
        assert not list(self.out.glob("*.jsonl"))
        return self.error

    def split(self, name: str) -> dict[Any, Example]:
        return {example.id: example for example in open_split(self.out, name)}

    def images(self, split: str) -> set[Any]:
        """The ids of a split's images."""
        return {example.image_id for example in self.split(split).values()}

    def dropped(self, *parts: str) -> bool:
        """Whether a line tells of something dropped, with all these in it."""
        lines = [line for line in self.printed.splitlines() if line.startswith("dropped")]
        return any(all(part in line for part in parts) for line in lines)


def make_images(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), "teal").save(folder / name)


def cut_short(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def write(path: Path, contents: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(contents if isinstance(contents, str) else json.dumps(contents))
    return path

"""YAML and JSON that stand for very much, or are nested without end: one line, and soon, wherever they are read."""

import json
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

import vlrnn
from vlrnn.cli import main
from vlrnn.errors import UserError
from vlrnn.files import parse_json
from vlrnn.yaml_text import read_yaml

LAUGHS = "{a0: &a0 [x, x], " + ", ".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)) + "}"
BAD = {
    "laughs": (LAUGHS, "aliases"),
    "laughs of keys": (
        "{a0: &a0 {k: 1}, " + ", ".join(f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}}}" for n in range(1, 60)) + "}",
        "aliases",
    ),
    "itself": ("model: &a [*a]", "contains itself"),
    "itself deeper": ("model: &a {b: {c: [1, *a]}}", "contains itself"),
    "deep": ("[" * 20_000 + "]" * 20_000, "nested|depth|expected |there is no class"),
    "deep without end": ("{a: " * 5_000, "nested|depth"),
    "rather deep": ("{a: " * 200 + "1" + "}" * 200, "nested"),
}
NO_YAML = {
    "a day": "a: 2001-99-99",
    "digits": f"a: {'9' * 5000}",
    "a tag": "a: !!python/object:os.system {}",
    "a": "a: [",
}
KEY = ("--key", "data.batch_size=1,2")
TASK = "vlrnn.tasks.Captioner"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert main(arguments) == 2
    assert time.monotonic() - began < 20
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert any(each in printed for each in word.split("|")), printed


def test_a_file(subtests: pytest.Subtests, folder: Path) -> None:
    for kind in BAD:
        with subtests.test(kind=kind):
            text, word = BAD[kind]
            (folder / "a.yaml").write_text(text)
            with pytest.raises(UserError, match=r"^a\.yaml.*(" + word.split("|Expected")[0] + ")") as error:
                read_yaml("a.yaml")
            assert "\n" not in str(error.value)


def test_what_is_no_yaml(subtests: pytest.Subtests, folder: Path) -> None:
    for kind in NO_YAML:
        with subtests.test(kind=kind):
            (folder / "a.yaml").write_text(NO_YAML[kind])
            with pytest.raises(UserError, match=r"^a\.yaml(:\d)?: not YAML: ") as error:
                read_yaml("a.yaml")
            assert "\n" not in str(error.value)


def test_aliases_are_taken_where_they_are_few(folder: Path) -> None:
    text = yaml.safe_dump({"cells": [cell := {"width": 8, "more": list(range(50))}] * 30, "first": cell})
    assert "*" in text
    (folder / "a.yaml").write_text(text + "merged: {<<: *id001, width: 9}\n")
    found = read_yaml("a.yaml")
    assert found["cells"] == [cell] * 30
    assert found["merged"] == {**cell, "width": 9}


READERS: dict[str, Callable[[str], list[str]]] = {
    "a recipe": lambda text: ["fit", "--config", _file("bad.yaml", text)],
    "a recipe, by -c": lambda text: ["test", "-c", _file("bad.yaml", text)],
    "a recipe behind another": lambda text: ["fit", "--config", "good.yaml", "--config", _file("bad.yaml", text)],
    "of a run": lambda text: ["validate", "--config", _file("bad.yaml", text)],
    "data": lambda text: ["fit", "--config", "good.yaml", "--data", text],
    "the task": lambda text: ["fit", "--config", "good.yaml", "--model", text],
    "the trainer": lambda text: ["fit", "--config", "good.yaml", "--trainer", text],
    "a file of the trainer": lambda text: ["fit", "--config", "good.yaml", "--trainer", _file("bad.yaml", text)],
    "a number": lambda text: ["fit", "--config", "good.yaml", "--data.batch_size", text],
    "callbacks": lambda text: ["fit", "--config", "good.yaml", "--trainer.callbacks", text],
    "a text in a recipe": lambda text: [
        "fit",
        "--config",
        _file("bad.yaml", yaml.safe_dump({"data": {"root": "x", "batch_size": text}, "model": TASK})),
    ],
    "a sweep": lambda text: ["study", "sweep", "--config", _file("bad.yaml", text), *KEY, "--out", "swept"],
    "a report": lambda text: ["report", _run(text), "--out", "report.html"],
}


def _file(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


def _run(config: str) -> str:
    Path("run").mkdir(exist_ok=True)
    _file("run/metrics.json", json.dumps({"scores": {"CIDEr": 1.0}, "settings": {}}))
    _file("run/config.yaml", config)
    return "run"


def test_every_reader_of_yaml(subtests: pytest.Subtests, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, reader in product(["laughs", "itself", "deep"], READERS):
        with subtests.test(kind=kind, reader=reader):
            (folder / "good.yaml").write_text(yaml.safe_dump({"data": {"root": "x"}, "model": {"class_path": TASK}}))
            text, word = BAD[kind]
            refused(READERS[reader](text), word, capsys)


def test_no_file_is_read_around_them() -> None:
    """What `yaml` itself reads is text that was just made, by a parser that dumps its settings."""
    package, made_here = Path(vlrnn.__file__).parent, ("yaml_text.py", "training/recipes.py", "studies/search_space.py")
    for path in package.rglob("*.py"):
        if path.relative_to(package).as_posix() not in made_here:
            assert "yaml.safe_load" not in path.read_text(), path
            assert "yaml.load" not in path.read_text(), path


# JSON.


def test_json_that_is_nested_too_deeply(subtests: pytest.Subtests) -> None:
    for depth, ends in product([101, 500, 2000, 100_000], ["[]", "{}"]):
        with subtests.test(depth=depth, ends=ends):
            first, last = ('{"a":', "}") if ends == "{}" else ends
            with pytest.raises(UserError, match=r"^a\.json: not readable JSON: nested too deeply"):
                parse_json(first * depth + "1" + last * depth, "a.json")


def test_json_that_is_wide_or_little_nested() -> None:
    wide: Any = [[{"a": [1, "[[["]}]] * 500
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    for value in (wide, deep, [deep[0]] * 3):
        assert parse_json(json.dumps(value), "a.json") == value


DEEP = "[" * 50_000 + "]" * 50_000
JSON_READERS: dict[str, Callable[[], list[str]]] = {
    "references": lambda: ["score", "captions", "--references", _file("a.json", DEEP), "--predictions", "p.jsonl"],
    "predictions": lambda: ["score", "captions", "--references", "r.jsonl", "--predictions", _file("p.json", DEEP)],
    "records": lambda: ["score", "captions", "--references", _file("a.jsonl", DEEP), "--predictions", "p.jsonl"],
    "a model": lambda: ["caption", "a.png", "--checkpoint", _model()],
    "scores": lambda: ["report", _scores(), "--out", "report.html"],
}


def _model() -> str:
    Path("model").mkdir()
    _file("model/config.json", DEEP)
    _file("model/model.safetensors", "")
    return "model"


def _scores() -> str:
    run = _run("{}")
    _file("run/metrics.json", DEEP)
    return run


def test_every_reader_of_json(subtests: pytest.Subtests, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for reader in JSON_READERS:
        with subtests.test(reader=reader):
            (folder / "r.jsonl").write_text('{"id": 1, "image_id": 1, "image": "a.png", "captions": ["a"]}\n')
            (folder / "p.jsonl").write_text('{"id": 1, "image_id": 1, "text": "a"}\n')
            refused(JSON_READERS[reader](), "nested too deeply", capsys)

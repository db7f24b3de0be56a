"""Recipes and flags of before version 0.2 are refused in a line that has the new name."""

from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import yaml

import vlrnn
from vlrnn.cli import main
from vlrnn.config import _PACKAGES
from vlrnn.training.objectives.base import Loss
from vlrnn.training.recipes import over, overlay
from vlrnn.training.renamed import _CLASSES, _KEYS

PUBLIC = {name: getattr(module, name) for module in map(import_module, _PACKAGES) for name in module.__all__}
# A loss is a result, which no recipe names.
TAKEN = {name for part in PUBLIC.values() if part is not Loss for name in signature(part.__init__).parameters}
LSTM = "model.init_args.decoder.init_args.recurrence.init_args"


def test_no_class_takes_an_old_name_and_some_class_each_new_one() -> None:
    assert not TAKEN & _KEYS.keys()
    new = {name for names in _KEYS.values() for name in names}
    assert new - TAKEN == {"bptt_length"}  # of the data
    assert not PUBLIC.keys() & _CLASSES.keys()
    assert set(_CLASSES.values()) <= {*PUBLIC, *vlrnn.__all__}


RENAMED = [
    (f"{LSTM}.width", 8, "width of vlrnn.nn.LSTM is now called hidden_size"),
    ("model.init_args.decoding.num_beams", 3, "decoding of vlrnn.tasks.Captioner is now called generation"),
    ("model.init_args.encoder", "vlrnn.nn.encoders.NoImage", "vlrnn.nn.encoders.NoImage is now called BlindEncoder"),
    ("model.init_args.encoder", "NoImage", "NoImage is now called BlindEncoder"),
]


@pytest.mark.parametrize(("key", "value", "message"), RENAMED)
def test_an_old_name(
    key: str, value: Any, message: str, small_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a recipe, and as a flag, whose form is short or long."""
    path = tmp_path / "old.yaml"
    recipe = yaml.safe_load(small_recipe.read_text().replace("nn.GRU", "nn.LSTM"))
    path.write_text(yaml.safe_dump(recipe))
    for flag in (f"--{key}", f"--{key.replace('.init_args', '')}"):
        assert main(["fit", "--config", str(path), flag, str(value)]) == 2
        assert capsys.readouterr().err == f"vlrnn fit: {message}\n"
    path.write_text(yaml.safe_dump(over(recipe, overlay(tuple(key.split(".")), value))))
    assert main(["fit", "--config", str(path)]) == 2
    assert capsys.readouterr().err == f"vlrnn fit: {path}: {message}\n"


def test_classes_of_others_may_take_what_they_like(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = {"class_path": "nobodys.Encoder", "init_args": {"width": 8}}
    recipe = {"model": {"class_path": "vlrnn.tasks.Captioner", "init_args": {"encoder": encoder}}}
    path = tmp_path / "theirs.yaml"
    path.write_text(yaml.safe_dump(recipe))
    assert main(["fit", "--config", str(path)]) == 2
    assert "is now called" not in capsys.readouterr().err

"""Recipes of before version 0.2 are refused in a line that has the new name."""

from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
import yaml

import vlrnn
from vlrnn.cli import main
from vlrnn.config import _PACKAGES
from vlrnn.training.objectives.base import Loss
from vlrnn.training.renamed import _CLASSES, _KEYS

PUBLIC = {name: getattr(module, name) for module in map(import_module, _PACKAGES) for name in module.__all__}
# A loss is a result, which no recipe names.
TAKEN = {name for part in PUBLIC.values() if part is not Loss for name in signature(part.__init__).parameters}
LSTM = {"class_path": "vlrnn.nn.LSTM", "init_args": {"width": 8}}


def test_no_class_takes_an_old_name_and_some_class_each_new_one() -> None:
    assert not TAKEN & _KEYS.keys()
    new = {name for names in _KEYS.values() for name in names}
    assert new - TAKEN == {"bptt_length"}  # of the data
    assert not PUBLIC.keys() & _CLASSES.keys()
    assert set(_CLASSES.values()) <= {*PUBLIC, *vlrnn.__all__}


RENAMED = [
    (
        {"model": {"init_args": {"decoder": {"init_args": {"recurrence": LSTM}}}}},
        "width of vlrnn.nn.LSTM is now called hidden_size",
    ),
    ({"model": {"init_args": {"decoding": {"num_beams": 3}}}}, "decoding is now called generation"),
    (
        {"model": {"init_args": {"encoder": {"class_path": "vlrnn.nn.encoders.NoImage"}}}},
        "vlrnn.nn.encoders.NoImage is now called BlindEncoder",
    ),
    ({"data": {"window": 8}}, "window is now called conv_width or window_size or bptt_length"),
]


def test_an_old_name(
    subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    for recipe, message in RENAMED:
        with subtests.test(recipe=recipe, message=message):
            tmp_path = tmp_path_factory.mktemp("case")
            path = tmp_path / "old.yaml"
            path.write_text(yaml.safe_dump(recipe))
            assert main(["fit", "--config", str(path)]) == 2
            assert capsys.readouterr().err == f"vlrnn fit: {path}: {message}\n"


def test_classes_of_others_may_take_what_they_like(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = {"class_path": "nobodys.Encoder", "init_args": {"width": 8}}
    recipe = {"model": {"class_path": "vlrnn.tasks.Captioner", "init_args": {"encoder": encoder}}}
    path = tmp_path / "theirs.yaml"
    path.write_text(yaml.safe_dump(recipe))
    assert main(["fit", "--config", str(path)]) == 2
    assert "is now called" not in capsys.readouterr().err

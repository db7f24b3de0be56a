"""A checkpoint of another model is refused, and what is different is named."""

from pathlib import Path
from typing import Any

import pytest
import torch
from test_training_cli import Workshop

from vlrnn.cli import main
from vlrnn.config import Configurable, to_config
from vlrnn.errors import UserError
from vlrnn.nn.attention import SoftAttention
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.nn.recurrent.rnn import GRU, LSTM
from vlrnn.text.vocabulary import Vocabulary
from vlrnn.training.compatibility import refuse_other_parts, refuse_other_task


def attends(width: int = 8, layers: int = 1, cell: type = LSTM) -> Decoder:
    return ShowAttendTell(cell(width, layers), SoftAttention(4), embedding_dim=6)


DIFFERENT: dict[str, tuple[str, Configurable, Configurable, str]] = {
    "a number deep within": ("decoder", attends(8), attends(9), "recurrence.hidden_size: 8 there, 9 here"),
    "a class": ("decoder", attends(), attends(cell=GRU), "recurrence: LSTM there, GRU here"),
    "the class of the part": (
        "decoder",
        attends(),
        ShowAndTell(LSTM(8), embedding_dim=6),
        "ShowAttendTell there, ShowAnd",
    ),
    "a word more": (
        "vocabulary",
        Vocabulary(["a", "b", "c"]),
        Vocabulary(["a", "c"]),
        "words: 3 there, 2 here; number 1 is 'b' there, 'c' here",
    ),
    "another order": (
        "vocabulary",
        Vocabulary(["a", "b"]),
        Vocabulary(["b", "a"]),
        "words: number 0 is 'a' there, 'b'",
    ),
}


def test_what_is_different_is_named(subtests: pytest.Subtests) -> None:
    for what in DIFFERENT:
        with subtests.test(what=what):
            part, stored, here, printed = DIFFERENT[what]
            with pytest.raises(UserError) as refusal:
                refuse_other_parts({part: to_config(here)}, {part: to_config(stored)})
            assert f"made with another {part} than the recipe's" in str(refusal.value)
            assert printed in str(refusal.value)
            refuse_other_parts({part: to_config(here)}, {part: to_config(here)})


def test_a_part_that_is_absent_is_named() -> None:
    with pytest.raises(UserError, match=r"another decoder than the recipe's .nothing there, "):
        refuse_other_parts({"decoder": to_config(attends())}, {})


def test_what_learns_may_be_another() -> None:
    one, other = (
        {"encoder": to_config(TorchvisionEncoder("mobilenet_v3_small", image_size=64, finetune_from=block))}
        for block in (None, "features.12")
    )
    refuse_other_parts(one, other)


def test_another_task_is_named() -> None:
    with pytest.raises(UserError, match="is of a Captioner, but the recipe has a ClassifierVQA"):
        refuse_other_task("vlrnn.tasks.ClassifierVQA", "vlrnn.tasks.Captioner")


def test_on_the_command_line(
    checkpoints: Any, classifier_file: Path, dataset: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Workshop(tmp_path, classifier_file, dataset)
    monkeypatch.chdir(tmp_path)
    other = torch.load(checkpoints.file, weights_only=True)
    other["vlrnn"]["format"] = 7
    torch.save(other, tmp_path / "other.ckpt")
    for command, different in (
        ("fit", "another vocabulary than the recipe's (words: 13 there, 12 here; "),
        (
            "test",
            "another decoder than the recipe's (recurrence.hidden_size: 32 there, 16 here)",
        ),  # by the words that it has
    ):
        for path, message in (
            (checkpoints.file, different),
            (tmp_path / "other.ckpt", "other.ckpt: of format 7; vlrnn"),
        ):
            flags = ["--trainer.default_root_dir", str(tmp_path / "run"), "--ckpt_path", str(path), "--quiet"]
            code = main([command, "--config", "recipe.yaml", "--data.min_count", "1", *flags])
            last = capsys.readouterr().err.splitlines()[-1]
            assert code == 2
            assert last.startswith(f"vlrnn {command}: ")
            assert message in last, last

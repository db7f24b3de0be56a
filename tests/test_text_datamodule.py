"""From a text to windows: each row goes on where it stopped, nothing is lost, and what is too short is refused."""

from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from vlrnn.data.text_datamodule import PASSAGE, TextDataModule, TextWindows
from vlrnn.errors import UserError
from vlrnn.text.tokenizers import CharTokenizer, LMTokenizer, WordTokenizer
from vlrnn.text.vocabulary import BOS, UNK

LINES = [f"Line {number} has {number % 7} words, or so.\n" for number in range(600)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("".join(LINES))
    return tmp_path / "text.txt"


def stream(
    root: Path, units: LMTokenizer | None = None, *, stage: str = "fit", rank: int = 0, world: int = 1, **more: Any
):
    """The data as a Trainer would set them up."""
    data = TextDataModule(str(root), units or CharTokenizer(), **{"batch_size": 4, "bptt_length": 32, **more})
    data.trainer = SimpleNamespace(world_size=world, global_rank=rank, state=SimpleNamespace(fn=stage))  # type: ignore[assignment]
    data.setup(stage)
    return data


def decoded(data: TextDataModule, tokens: torch.Tensor) -> str:
    return "".join(data.vocabulary.decode(tokens.tolist()))


# Splits.


def test_a_file_is_cut_at_ends_of_lines(file: Path) -> None:
    data = stream(file)
    parts = {split: "".join(data.split(split)) for split in ("train", "val", "test")}
    assert "".join(parts.values()) == file.read_text()
    assert all(part.endswith("\n") for part in parts.values())
    assert len(parts["train"]) / len(file.read_text()) == pytest.approx(0.9, abs=0.01)
    assert len(parts["val"]) == pytest.approx(len(parts["test"]), rel=0.2)


def test_a_file_of_one_line_is_cut_where_it_must(tmp_path: Path) -> None:
    (tmp_path / "line.txt").write_text("abcdefghij" * 2000)
    data = stream(tmp_path / "line.txt")
    assert [len(data.split(split)) for split in ("train", "val", "test")] == [18_000, 1_000, 1_000]


def test_a_folder_has_its_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.txt").write_text(f"{split} " * 500)
    data = stream(tmp_path)
    assert "".join(data.split("val")) == "val " * 500
    assert "".join(data.split("test")) == "test " * 500


def test_units_are_counted_on_train_alone(tmp_path: Path) -> None:
    for split, text in (("train", "aab" * 300), ("val", "abz" * 300), ("test", "q" * 600)):
        (tmp_path / f"{split}.txt").write_text(text)
    data = stream(tmp_path)
    assert data.vocabulary.words[4:] == ("a", "b")
    assert (data._windows["val"].tokens == UNK).sum() == 300
    assert len(stream(tmp_path, min_count=301).vocabulary) == 4 + 1


# Windows.


def test_rows_go_on_where_they_stopped(subtests: pytest.Subtests, file: Path) -> None:
    for units, window in product([CharTokenizer(), WordTokenizer()], [1, 32, 50, None]):
        with subtests.test(units=units, window=window):
            data = stream(file, units, bptt_length=window)
            batches = list(data.train_dataloader())
            assert [batch.is_start for batch in batches] == [True] + [False] * (len(batches) - 1)
            length = len(data.split("train")) // 4
            assert len(batches) == (1 if window is None else -(-length // window))
            for row in range(4):
                last_token = batches[0].tokens[row, 0]
                assert last_token == BOS
                pieces = []
                for batch in batches:
                    assert batch.tokens[row, 0] == last_token
                    pieces.append(decoded(data, batch.tokens[row, 1:]))
                    assert batch.examples[row].captions == (pieces[-1],)
                    last_token = batch.tokens[row, -1]
                assert "".join(pieces) == "".join(data.split("train")[row * length : (row + 1) * length])
            names = [example.id for batch in batches for example in batch.examples]
            assert len(set(names)) == len(names)
            assert names[:2] == ["train-000000000", f"train-{length:09}"]


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_is_scored_is_one_text_from_start_to_end(file: Path, split: str) -> None:
    for window in (1, 32, None):
        data = stream(file, stage="fit" if split == "val" else "test", bptt_length=window)
        batches = list(data.val_dataloader() if split == "val" else data.test_dataloader())
        assert all(len(batch.tokens) == 1 for batch in batches)
        assert [batch.tokens.shape[1] - 1 for batch in batches[:-1]] == [PASSAGE] * (len(batches) - 1)
        assert "".join(decoded(data, batch.tokens[0, 1:]) for batch in batches) == "".join(data.split(split))


def test_processes_share_the_pieces(file: Path) -> None:
    """Two with two rows each read what one with four reads."""
    alone = [batch.tokens for batch in stream(file).train_dataloader()]
    shares = [
        [batch.tokens for batch in stream(file, batch_size=2, rank=rank, world=2).train_dataloader()]
        for rank in range(2)
    ]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert torch.equal(torch.cat(parts), whole)
    scored = [
        [batch.tokens for batch in stream(file, rank=rank, world=2, stage="test").test_dataloader()] for rank in (0, 1)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*scored, strict=True))


def test_windows_hold_every_token_once() -> None:
    tokens = torch.arange(100, 203)
    windows = TextWindows([str(n) for n in range(103)], tokens, 5, 7, "x", range(5))
    targets = torch.cat([windows[place].tokens[:, 1:] for place in range(len(windows))], 1)
    assert torch.equal(targets.flatten(), tokens[:100])  # three are left over
    with pytest.raises(IndexError):
        windows[len(windows)]
    assert nn.Identity()(windows[0]).to("cpu").tokens.shape == (5, 8)


def test_few_passages_are_memorized(file: Path) -> None:
    data = stream(file, overfit=2)
    assert len(data.split("train")) == len(data.split("val")) == 2 * PASSAGE
    assert list(data.split("val")) == list(data.split("train"))
    assert len(data.split("test")) > 2 * PASSAGE


# Mistakes.


SHORT_TEXTS = [
    ("", {}, "train has 0 characters, which is less than 4 x 32; lower data.batch_size or data.bptt_length"),
    ("short " * 20, {}, "train has 108 characters, which is less than 4 x 32"),
    ("enough " * 100, {}, "val has 35 characters, which is less than 257; scores need two passages"),
    ("a few words " * 10, {"units": WordTokenizer(), "batch_size": 64}, "words, which is less than 64 x 32"),
    ("a", {"bptt_length": None, "batch_size": 3}, "which is less than 3; lower"),
]


def test_a_text_that_is_too_short(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for text, settings, message in SHORT_TEXTS:
        with subtests.test(text=text, settings=settings, message=message):
            tmp_path = tmp_path_factory.mktemp("case")
            (tmp_path / "short.txt").write_text(text)
            with pytest.raises(UserError) as fault:
                stream(tmp_path / "short.txt", **settings)
            assert str(fault.value).startswith(f"{tmp_path / 'short.txt'}: ")
            assert message in str(fault.value)


def test_texts_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.txt: cannot be read"):
        stream(tmp_path / "absent.txt")
    with pytest.raises(UserError, match=r"train\.txt: cannot be read"):
        stream(tmp_path)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00" * 100)
    with pytest.raises(UserError, match=r"bytes\.txt: not UTF-8"):
        stream(tmp_path / "bytes.txt")


def test_numbers_that_make_no_sense(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ["batch_size", "bptt_length", "min_count", "overfit"]:
        with subtests.test(name=name):
            tmp_path = tmp_path_factory.mktemp("case")
            with pytest.raises(UserError, match=rf"data\.{name} must be at least 1, not 0"):
                TextDataModule(str(tmp_path), CharTokenizer(), **{name: 0})  # type: ignore[arg-type]

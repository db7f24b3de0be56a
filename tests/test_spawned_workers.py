"""Processes that are not forked, as on macOS and Windows: they are sent what they load, and get an epoch's batches."""

import pickle
from collections.abc import Callable
from functools import partial
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from quick import quick
from test_datamodule import attached
from test_gpu_synchronization import ANSWERS, WORDS, questions
from torch.utils.data import DataLoader

from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.feature_cache import _read
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.data.text_datamodule import TextDataModule
from vlrnn.nn.attention import SoftAttention
from vlrnn.nn.decoders.language_model import RecurrentLanguageModel
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.nn.recurrent.rnn import LSTM
from vlrnn.tasks.captioning import Captioner
from vlrnn.tasks.classifier_vqa import ClassifierVQA
from vlrnn.tasks.language_model import LanguageModel
from vlrnn.text.tokenizers import CharTokenizer
from vlrnn.training.module import Task


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, train=8, val=2, test=2, image_size=32, workers=1)
    return folder


@pytest.fixture
def encoder(classifier_file: Path) -> TorchvisionEncoder:
    return TorchvisionEncoder("mobilenet_v3_small", str(classifier_file), image_size=32).requires_grad_(False)


def data_of(
    kind: str, scenes: Path, encoder: TorchvisionEncoder, cache: Path | None, **more: Any
) -> pl.LightningDataModule:
    """A data module with a Trainer, which no process can be sent."""
    if kind == "text":
        (scenes / "text.txt").write_text("".join(f"this is line {number}\n" for number in range(1000)))
        data: Any = TextDataModule(str(scenes / "text.txt"), CharTokenizer(), batch_size=2)
    else:
        cached = {"cache": str(cache) if cache else None}
        data = VisionLanguageData(str(scenes / kind), batch_size=3, min_count=1, **cached, **more)
    attached(data, encoder)
    data.trainer.unsent = lambda: None
    return data


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("kind", ["captions", "vqa", "text"])
def test_data_sets_can_be_sent(
    kind: str, split: str, cached: bool, scenes: Path, encoder: TorchvisionEncoder, tmp_path: Path
) -> None:
    loader = data_of(kind, scenes, encoder, tmp_path if cached else None).loader(split)  # type: ignore[attr-defined]
    sent = bytes(ForkingPickler.dumps((loader.dataset, loader.collate_fn)))
    assert len(sent) < 100_000
    items, _ = pickle.loads(sent)
    for index in range(len(items)):
        same(items[index], loader.dataset[index])


def test_pictures_to_be_cached_can_be_sent(dataset: Path) -> None:
    paths = sorted((dataset / "images").iterdir())
    again = pickle.loads(bytes(ForkingPickler.dumps(partial(_read, size=32))))
    assert torch.equal(again(paths[3:4]), _read(paths[3:4], 32))


def same(one: Any, other: Any) -> None:
    for ours, theirs in zip(one, other, strict=True):
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs


@pytest.mark.parametrize(
    ("method", "kind"), quick([("spawn", "captions"), ("forkserver", "vqa")], ("spawn", "captions"))
)
def test_an_epoch(method: str, kind: str, scenes: Path, encoder: TorchvisionEncoder, tmp_path: Path) -> None:
    epochs = []
    for workers in (0, 1):
        torch.manual_seed(0)
        more = {"num_workers": workers}
        data = data_of(kind, scenes, encoder, tmp_path / str(workers), **more)
        loader = data.train_dataloader()
        if workers:
            loader.multiprocessing_context = method
        epochs.append(list(loader))
    for ours, theirs in zip(*epochs, strict=True):
        same(ours, theirs)


TASKS: dict[str, Callable[[TorchvisionEncoder], Task]] = {
    "captioner": lambda encoder: Captioner(WORDS, encoder, ShowAttendTell(LSTM(6), SoftAttention(4), embedding_dim=5)),
    "classifier": lambda encoder: ClassifierVQA(WORDS, ANSWERS, encoder, **questions(LSTM(6))),
    "language model": lambda encoder: LanguageModel(
        WORDS, CharTokenizer(), RecurrentLanguageModel(LSTM(6), embedding_dim=5)
    ),
}


@pytest.mark.parametrize("kind", list(TASKS))
def test_tasks_can_be_sent(kind: str, encoder: TorchvisionEncoder) -> None:
    task = TASKS[kind](encoder).eval()
    task.trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    task.trainer.unsent = lambda: None  # type: ignore[attr-defined]
    again = pickle.loads(bytes(ForkingPickler.dumps(task)))
    assert again.arguments == task.arguments or type(again) is type(task)
    for name, each in task.state_dict().items():
        assert torch.equal(again.state_dict()[name], each), name
    pictures = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    if kind != "language model":
        assert torch.equal(again.encoder.regions(pictures), task.encoder.regions(pictures))


def test_what_cannot_be_sent_is_found() -> None:
    """The check itself: a Trainer is no such thing."""
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        ForkingPickler.dumps(DataLoader([lambda: None]).dataset)

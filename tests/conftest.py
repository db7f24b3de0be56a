"""What several test files need: small images, a small prepared data set, and weights in a file as a pretrained CNN has
them, and a captioner that has learnt the pictures."""

import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torchvision
import yaml
from data_scripts import Script
from hypothesis import settings
from PIL import Image
from safetensors.torch import save_file

from vlrnn.cli import main
from vlrnn.data.records import Example, open_split, write_dataset

torch.set_num_threads(1)  # tensors here are too small for more to help
settings.register_profile("quick", max_examples=40, deadline=None)
settings.load_profile("quick")

CLASSIFIER = "mobilenet_v3_small"
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (40, 40, 230), "white": (240, 240, 240)}
PLACES = {"left": (2, 10), "right": (18, 10), "top": (10, 2)}


def pytest_configure() -> None:
    """What is started with `nohup` or in the background ignores SIGINT, and so would all that tests start: those who
    send it would wait for ever."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Script:
    return Script(capsys, tmp_path / "prepared")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, where there is one."""
    if not (folder := os.environ.get("VLRNN_DATA")):
        pytest.skip("VLRNN_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
    if not (path := shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("needs a browser: there is no chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def classifier_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small classifier, with the metadata that says how its images are normalised."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    model = torchvision.models.get_model(CLASSIFIER, weights=None, num_classes=7)
    for norm in filter(lambda each: isinstance(each, torch.nn.BatchNorm2d), model.modules()):
        norm.momentum = None  # a plain mean: numbers that do not vanish on the way through random layers
    model(torch.rand(16, 3, 64, 64) * 2 - 1)
    save_file(model.state_dict(), path, {"mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5", "input_size": "64"})
    return path


def picture(colour: str, place: str) -> Image.Image:
    """A coloured square somewhere on black, 32 pixels wide."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    x, y = PLACES[place]
    pixels[y : y + 12, x : x + 12] = COLOURS[colour]
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Path]:
    """Writes a prepared data set of twelve pictures: function of a folder, and of which splits share them."""

    def make(folder: Path, sizes: Sequence[int] = (8, 2, 2)) -> Path:
        (folder / "images").mkdir(parents=True)
        examples = []
        for colour in COLOURS:
            for place in PLACES:
                name = f"images/{colour}_{place}.png"
                picture(colour, place).save(folder / name)
                captions = (f"A {colour} square on the {place}.", f"On the {place} there is a {colour} square.")
                examples.append(Example(f"{colour}-{place}", f"{colour}-{place}", name, captions))
        starts = np.cumsum([0, *sizes])
        splits = dict(
            zip(("train", "val", "test"), map(examples.__getitem__, map(slice, starts, starts[1:])), strict=False)
        )
        write_dataset(folder, splits, name="squares", source="made by the tests", licence="CC0")
        return folder

    return make


@pytest.fixture(scope="session")
def dataset(make_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set that no test changes."""
    return make_dataset(tmp_path_factory.mktemp("data") / "squares")


SMALL_RECIPE: dict[str, Any] = {
    "model": {
        "class_path": "vlrnn.tasks.Captioner",
        "init_args": {
            "encoder": {"class_path": "vlrnn.nn.BlindEncoder"},
            "decoder": {
                "class_path": "vlrnn.nn.ShowAndTell",
                "init_args": {
                    "recurrence": {"class_path": "vlrnn.nn.GRU", "init_args": {"hidden_size": 8}},
                    "embedding_dim": 8,
                },
            },
            "generation": {"max_new_tokens": 4},
        },
    },
    "data": {"batch_size": 4, "min_count": 1},
    "trainer": {"accelerator": "cpu", "max_epochs": 2, "enable_model_summary": False},
}
"""A captioner that sees nothing, and trains within a second: two epochs of two steps."""


@pytest.fixture(scope="session")
def small_recipe(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(yaml.safe_dump({**SMALL_RECIPE, "data": {**SMALL_RECIPE["data"], "root": str(dataset)}}))
    return path


@pytest.fixture(scope="session")
def fit(small_recipe: Path) -> Callable[..., int]:
    """`vlrnn fit` by the small recipe: function of a run folder and of flags; its exit code."""

    def call(run: str | Path, *flags: str) -> int:
        return main(["fit", "--config", str(small_recipe), "--trainer.default_root_dir", str(run), *flags])

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour, place in (("a", "red", "left"), ("b", "green", "right"), ("c", "blue", "top")):
        picture(colour, place).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder of everything that vlrnn reads, small and good: see `fuzzing.world`."""
    from fuzzing.world import World

    with warnings.catch_warnings(action="ignore"):
        return World(tmp_path_factory.mktemp("world"))


class Checkpoints(NamedTuple):
    """A captioner that has learnt the pictures by heart, as training left it and exported; and an untrained one whose
    decoder does not attend. The data and the CNN's weights that they were made with are gone."""

    file: Path
    folder: Path
    plain: Path


@pytest.fixture(scope="session")
def checkpoints(
    classifier_file: Path, make_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Checkpoints:
    """Checkpoints that no test changes."""
    # Lightning is slow to import, and most test files need none of this.
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader

    from vlrnn.data.batches import Item, collate
    from vlrnn.data.images import open_image, pixels
    from vlrnn.generation.search import GenerationConfig
    from vlrnn.nn.attention import SoftAttention
    from vlrnn.nn.decoders.base import Decoder
    from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
    from vlrnn.nn.decoders.show_tell import ShowAndTell
    from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
    from vlrnn.nn.recurrent.rnn import GRU, LSTM
    from vlrnn.tasks.captioning import Captioner
    from vlrnn.text.ptb_tokenizer import tokenize
    from vlrnn.text.vocabulary import BOS, EOS, Vocabulary
    from vlrnn.training.checkpoint import save_pretrained
    from vlrnn.training.optimization import Optimization

    made, saved = tmp_path_factory.mktemp("gone"), tmp_path_factory.mktemp("checkpoints")
    data, weights = make_dataset(made / "data", sizes=(12, 0, 0)), made / "weights.safetensors"
    shutil.copy(classifier_file, weights)
    examples = list(open_split(data, "train"))
    vocabulary = Vocabulary.count(tokenize(caption) for each in examples for caption in each.captions)

    def captioner(decoder: Decoder) -> Captioner:
        torch.manual_seed(0)
        optimization = Optimization(lr=1e-2, weight_decay=0.0, warmup_fraction=0.1)
        encoder = TorchvisionEncoder(CLASSIFIER, str(weights))
        return Captioner(vocabulary, encoder, decoder, GenerationConfig(max_new_tokens=12), optimization=optimization)

    task = captioner(ShowAttendTell(LSTM(32), SoftAttention(16), embedding_dim=24, dropout=0.0, region_dim=32))
    images = [torch.from_numpy(pixels(open_image(data / each.image), task.encoder.image_size)) for each in examples]
    with torch.no_grad():
        regions = task.encoder.eval().regions(torch.stack(images))
    rows = [[[BOS, *vocabulary.encode(tokenize(caption)), EOS] for caption in each.captions] for each in examples]
    batch = collate([Item((each,), None, *rest) for each, *rest in zip(examples, regions, rows, strict=True)])
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        gradient_clip_val=5.0,
        default_root_dir=made,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings(action="ignore"):
        trainer.fit(task, DataLoader([batch] * 150, batch_size=None))
    trainer.save_checkpoint(saved / "model.ckpt")
    save_pretrained(task, saved / "model")
    save_pretrained(captioner(ShowAndTell(GRU(16), embedding_dim=16)), saved / "plain")
    shutil.rmtree(made)
    return Checkpoints(saved / "model.ckpt", saved / "model", saved / "plain")

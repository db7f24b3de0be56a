"""What several test files need: small images, a small prepared data set, and weights in a file as a pretrained CNN has
them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import settings
from PIL import Image
from safetensors.torch import save_file

from vlrnn.records import Example, write_dataset

torch.set_num_threads(1)  # tensors here are too small for more to help
settings.register_profile("quick", max_examples=40, deadline=None)
settings.load_profile("quick")

CLASSIFIER = "mobilenet_v3_small"
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (40, 40, 230), "white": (240, 240, 240)}
PLACES = {"left": (2, 10), "right": (18, 10), "top": (10, 2)}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, where there is one."""
    if not (folder := os.environ.get("VLRNN_DATA")):
        pytest.skip("VLRNN_DATA names no folder of real data")
    return Path(folder)


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

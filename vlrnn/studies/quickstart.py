"""The quickstart: from nothing to a scored captioner and its report, by the same recipes and commands as real data.

Scenes are made; a small CNN is pretrained on them, and from then on is a file of weights like any other; a captioner is
trained over it, and the same recipe without the image beside it; both are scored, against references and against the
scenes themselves.
"""

import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from rich.console import Console

from vlrnn.data.synthetic import make_scenes
from vlrnn.files import read_json, replacing, write_json
from vlrnn.probes.scene_truth import scene_truth
from vlrnn.records import Prediction, RecordFile, open_split
from vlrnn.report.page import write_report
from vlrnn.studies.pretraining import pretrain
from vlrnn.tasks.recipe import run_recipe

SIDE = 64
"""Pixels of a scene's side."""

CNN: dict[str, Any] = {"name": "shufflenet_v2_x1_0", "size": SIDE, "regions_from": "stage2"}
"""The encoder: a grid of 8 x 8 regions, 116 wide."""


def quickstart(
    out: str | Path, *, train: int = 8000, val: int = 200, test: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Run it all into a folder.

    Args:
        out: the folder; gets `scenes/`, `cnn.safetensors`, `captioning/` and `captioning-blind/` (run folders),
            `metrics.json` and `report.html`.
        train, val, test: how many scenes.
        seed: of everything.

    Returns:
        what is in `metrics.json`.
    """
    out = Path(out)
    say = Console(stderr=True).print
    began = time.monotonic()
    pl.seed_everything(seed, verbose=False)
    say("[bold]1/3[/bold] scenes, with captions")
    make_scenes(out / "scenes", train=train, val=val, test=test, seed=seed, image_size=SIDE, progress=True)
    say("[bold]2/3[/bold] a small CNN learns which objects are there")
    accuracy = pretrain(out / "scenes" / "captions", out / "cnn.safetensors", first="conv1", epochs=3, lr=8e-3, **CNN)
    say(f"    {accuracy:.1%} of the objects' regions told right, of scenes that it has not seen")
    say("[bold]3/3[/bold] the captioner, over the CNN; and beside it the same recipe without the image")
    recipes = {"captioning": _recipe(out, seed), "captioning-blind": _without_image(_recipe(out, seed))}
    # Recurrences as small as these gain nothing from a second thread: the two train side by side, with one each.
    with ProcessPoolExecutor(2, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        captioning, blind = pool.map(_train_and_test, [out / name for name in recipes], recipes.values())
    seconds = round(time.monotonic() - began, 1)
    metrics = {"captioning": {"scores": captioning, "blind": blind, "seconds": seconds}}
    write_json(out / "metrics.json", metrics)
    write_report([out / "captioning", out / "captioning-blind"], out / "report.html")
    return metrics


def _recipe(out: Path, seed: int) -> dict[str, Any]:
    """The recipe of the captioner, as a person would write it."""
    return {
        "seed_everything": seed,
        "model": {
            "class_path": "vlrnn.tasks.captioning.Captioner",
            "init_args": {
                "encoder": {
                    "class_path": "vlrnn.nn.encoders.CNNEncoder",
                    "init_args": {**CNN, "weights": str(out / "cnn.safetensors")},
                },
                "decoder": {
                    "class_path": "vlrnn.nn.decoders.ShowAttendTell",
                    "init_args": {
                        "recurrence": {"class_path": "vlrnn.nn.recurrence.LSTM", "init_args": {"width": 128}},
                        "attention": {"class_path": "vlrnn.nn.attention.DotAttention", "init_args": {"width": 64}},
                        "embedding": 64,
                        "region_width": 64,
                        "frequencies": 4,
                        "query_word": True,
                        "dropout": 0.1,
                    },
                },
                "decoding": {"max_new_tokens": 40},
                "optimization": {"lr": 1e-2},
            },
        },
        "data": {
            "root": str(out / "scenes" / "captions"),
            "cache": str(out / "cache"),
            "batch_size": 32,
            "captions_per_image": 2,
            "min_count": 1,
            "max_length": 40,
        },
        "trainer": {
            "default_root_dir": str(out / "captioning"),
            "max_epochs": 3,
            "enable_model_summary": False,
        },
    }


def _without_image(recipe: dict[str, Any]) -> dict[str, Any]:
    blind = json.loads(json.dumps(recipe))
    blind["model"]["init_args"]["encoder"] = {"class_path": "vlrnn.nn.encoders.NoImage"}
    blind["trainer"]["enable_progress_bar"] = False
    return blind


def _train_and_test(run: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Train by a recipe, score the best checkpoint on test, and return all scores."""
    recipe["trainer"]["default_root_dir"] = str(run)
    path = run / "recipe.yaml"
    with replacing(path) as file:
        yaml.safe_dump(recipe, file, sort_keys=False)
    run_recipe("fit", ["--config", str(path)])
    run_recipe("test", ["--config", str(path), "--ckpt_path", str(run / "checkpoints" / "best.ckpt")])
    said = {each.id: each.text for each in RecordFile(run / "predictions.jsonl", Prediction)}
    examples = list(open_split(recipe["data"]["root"], "test"))
    truth = scene_truth([said[example.id] for example in examples], examples)
    write_json(run / "probes" / "scene_truth.json", {"scores": truth, "settings": {"n": len(examples)}})
    return {**read_json(run / "metrics.json")["scores"], **truth}

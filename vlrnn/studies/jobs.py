"""Jobs of a study: training of recipes over synthetic scenes in two processes, resumed by a plan."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml

from vlrnn.errors import UserError
from vlrnn.files import aside, move_aside, read_json, replacing, write_json
from vlrnn.processes import workers
from vlrnn.progress import print_progress, track
from vlrnn.studies.pretraining import pretrain
from vlrnn.training.cli import run_recipe
from vlrnn.training.recipes import merged, over
from vlrnn.training.run_start import OVERWRITE, contents
from vlrnn.yaml_text import read_yaml

Recipe = dict[str, Any]

IMAGE_SIZE = 64
"""Pixels of a side of synthetic scenes, as in the recipes."""


def scene_recipe(name: str, folder: Path, cnn: Path, seed: int) -> Recipe:
    """The recipe `quickstart/NAME` for the `scenes/` and the `cache/` of a folder, and a CNN's file of weights."""
    recipe = merged([f"quickstart/{name}"])
    scenes = folder / "scenes" / Path(recipe["data"]["root"]).name
    given = {"seed_everything": seed, "data": {"root": str(scenes), "cache": str(folder / "cache")}}
    return over(recipe, given | {"model": {"init_args": {"encoder": {"init_args": {"weights": str(cnn)}}}}})


def without_image(recipe: Recipe) -> Recipe:
    """The same recipe with a `BlindEncoder`, for scores without the image."""
    arguments = {**recipe["model"]["init_args"], "encoder": {"class_path": "vlrnn.nn.BlindEncoder"}}
    return {**recipe, "model": {**recipe["model"], "init_args": arguments}}


@contextmanager
def output_into(run: Path, mode: str = "a") -> Iterator[None]:
    """Write stdout and stderr into `output.txt` of a run folder: those of two processes would be mixed."""
    with (run / "output.txt").open(mode, encoding="utf-8") as output, redirect_stdout(output), redirect_stderr(output):
        yield


def run_all(function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], title: str, unit: str) -> None:
    """Call a function with the arguments of each job, in two processes, with a progress bar that counts units."""
    with two_processes() as pool:
        runs = [pool.submit(function, *job) for job in jobs]
        for run in track(as_completed(runs), title, total=len(runs), unit=unit):
            run.result()


def two_processes() -> AbstractContextManager[ProcessPoolExecutor]:
    """Two processes of one thread each: small networks gain little from a second thread."""
    return workers(2, _on_one_thread)


def _on_one_thread() -> None:
    torch.set_num_threads(1)


def pretrain_cnn(scenes: Path, out: Path, seed: int, epochs: int = 3) -> tuple[float, float]:
    """Pretrain the CNN of the recipes on the captioned scenes of a folder, and write a file of weights.

    Returns:
        the share of objects that it classifies right, in 0..1, and the seconds it took.
    """
    began = time.monotonic()
    pl.seed_everything(seed, verbose=False)
    encoder = merged(["quickstart/captioning"])["model"]["init_args"]["encoder"]["init_args"]
    cnn = {name: encoder[name] for name in ("name", "image_size", "out_layer")}
    accuracy = pretrain(scenes / "captions", out, first="conv1", epochs=epochs, lr=8e-3, **cnn)
    return accuracy, time.monotonic() - began


def train_and_test(run: Path, recipe: Recipe, tests: Mapping[Path, Path] | None = None) -> float:
    """Train by a recipe, and score the best checkpoint, in a run folder, with the output in `output.txt`. A finished
    run of the same recipe is not repeated, and an interrupted one goes on.

    Args:
        run: the run folder.
        recipe: gets the run folder as `default_root_dir`.
        tests: run folder -> data set whose test split is scored into it, one after the other; by default the recipe's
            own, into `run`.

    Returns:
        the seconds it took.

    Raises:
        UserError: the folder holds a run by another recipe.
    """
    began = time.monotonic()
    recipe["trainer"]["default_root_dir"] = str(run)
    tests = tests or {run: Path(recipe["data"]["root"])}
    path, done = run / "recipe.yaml", run / "seconds.json"
    if contents(run):
        before = read_yaml(path) if path.is_file() else None
        if _without_places(before) != _without_places(recipe):
            raise UserError(f"{run}: holds {contents(run)} of another recipe; choose another --out, or use --overwrite")
    if done.is_file() and all((into / "metrics.json").is_file() for into in tests):
        return float(read_json(done))
    with replacing(path) as file:
        yaml.safe_dump(recipe, file, sort_keys=False)
    best = ["--config", str(path), "--ckpt_path", str(run / "checkpoints" / "best.ckpt")]
    with output_into(run):
        run_recipe("fit", ["--config", str(path), "--ckpt_path", "last"])
        for into, root in tests.items():
            run_recipe("test", [*best, "--data.root", str(root), "--trainer.default_root_dir", str(into)])
    seconds = round(time.monotonic() - began, 1)
    write_json(done, seconds)
    return seconds


def _without_places(tree: Any) -> Any:
    """A recipe without paths, because the folder of a study may have been renamed."""
    if isinstance(tree, dict):
        return {key: _without_places(value) for key, value in tree.items()}
    return None if isinstance(tree, str) and "/" in tree else tree


def keep_plan(out: Path, plan: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Write the plan to the folder, `plan.json`, or check that it equals the one there.

    Args:
        out: the folder.
        plan: as JSON has it.
        overwrite: first move the folder's content aside, whatever its plan.

    Raises:
        UserError: the plans differ, with the differing names; or the folder holds results and no plan.
    """
    path = out / "plan.json"
    if overwrite and (path.exists() or contents(out)):
        print_progress(f"{out}: the earlier contents are now in {move_aside(out)}")
    stored = read_json(path) if path.exists() else None
    if path.exists() or contents(out):
        other = stored if isinstance(stored, dict) else {}
        differing = [name for name in {**other, **plan} if other.get(name) != plan.get(name)]
        if stored is None or differing:
            held = f"another plan ({', '.join(differing)})" if stored else f"{contents(out)}, and no plan"
            place, mended = path if stored else out, OVERWRITE.format(aside(out))
            raise UserError(f"{place}: holds {held}; choose another --out, or {mended}")
    write_json(path, dict(plan))

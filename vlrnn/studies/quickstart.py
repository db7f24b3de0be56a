"""The quickstart: trains and scores a captioner and two VQA models by the same recipes and commands as for real data.

It generates scenes; pretrains a small CNN on them, whose weights are a file like any other; trains a captioner and both
heads of VQA over it, and each also without the image; scores all, captions also against the scenes themselves; probes
the three, and writes a report.
"""

import time
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.files import write_json
from vlrnn.inference.predictor import Predictor
from vlrnn.probes.calibration import probe_calibration
from vlrnn.probes.chair import probe_chair
from vlrnn.probes.consistency import probe_consistency
from vlrnn.probes.finding import Finding
from vlrnn.probes.model.attribution import attribution
from vlrnn.probes.model.grounding import grounding
from vlrnn.probes.priors import probe_priors
from vlrnn.probes.scene_truth import probe_scene_truth
from vlrnn.progress import print_progress, track
from vlrnn.report.page import write_report
from vlrnn.runs import choose_split, predictions_file
from vlrnn.studies import jobs

RECIPES = ("captioning", "generative_vqa", "classifier_vqa")
"""The recipes, the longest training first, so that no core is idle at the end."""


def quickstart(
    out: str | Path, *, train: int = 8000, val: int = 200, test: int = 1000, seed: int = 0, overwrite: bool = False
) -> dict[str, Any]:
    """Run all into a folder. Results of an earlier call with the same settings are not computed again.

    Args:
        out: the folder; gets `scenes/`, `cnn.safetensors`, the run folders `captioning/`, `generative_vqa/` and
            `classifier_vqa/`, each with its `-blind/`, `metrics.json` and `report.html`.
        train, val, test: how many scenes.
        seed: of everything.
        overwrite: first move the folder's content aside.

    Returns:
        the content of `metrics.json`.

    Raises:
        UserError: the folder holds something else.
    """
    out = Path(out)
    began = time.monotonic()
    jobs.keep_plan(out, {"train": train, "val": val, "test": test, "seed": seed}, overwrite=overwrite)
    print_progress("1/4 scenes, captions of them, and questions")
    if not (out / "scenes" / "captions" / "dataset.json").is_file():  # which is written last
        make_scenes(out / "scenes", train=train, val=val, test=test, seed=seed, image_size=jobs.IMAGE_SIZE)
    print_progress("2/4 a small CNN; with it a captioner and two VQA models, each also without the image")
    cnn = out / "cnn.safetensors"
    recipes = {name: jobs.scene_recipe(name, out, cnn, seed) for name in RECIPES}
    blind = {f"{name}-blind": jobs.without_image(recipe) for name, recipe in recipes.items()}
    with jobs.two_processes() as pool:
        pretraining = None if cnn.is_file() else pool.submit(jobs.pretrain_cnn, out / "scenes", cnn, seed)
        # The blind ones need no CNN.
        longest = next(iter(blind))
        runs = {pool.submit(_train_and_test, out / longest, blind.pop(longest)): longest}
        if pretraining:
            accuracy, seconds = pretraining.result()
            print_progress(
                f"    cnn: {accuracy:.1%} of the objects in validation scenes are classified correctly; {seconds:.0f} s"
            )
        runs |= {pool.submit(_train_and_test, out / name, recipe): name for name, recipe in (recipes | blind).items()}
        for run in track(as_completed(runs), "training", total=len(runs), unit="models"):
            print_progress(f"    {runs[run]}: trained and scored in {run.result()[1]:.0f} s")
        found = {name: run.result() for run, name in runs.items()}
        print_progress("3/4 probes: use of the image, hallucination, calibration")
        probes = [
            pool.submit(run_probe, out, run, name, seed)
            for run, names in PROBES.items()
            for name in names
            if not (out / run / "probes" / f"{name}.json").is_file()
        ]
        for probe in track(as_completed(probes), "probing", total=len(probes), unit="probes"):
            probe.result()
    metrics: dict[str, Any] = {
        name: {"scores": found[name][0], "blind": found[f"{name}-blind"][0], "seconds": found[name][1]}
        for name in RECIPES
    }
    metrics["seconds"] = round(time.monotonic() - began, 1)
    write_json(out / "metrics.json", metrics)
    print_progress("4/4 the report")
    write_report([out / name for name in RECIPES], out / "report.html", seed=seed)
    return metrics


def _train_and_test(run: Path, recipe: jobs.Recipe) -> tuple[dict[str, Any], float]:
    """Train by a recipe, score the best checkpoint on test, and return all scores, and the seconds it took."""
    seconds = jobs.train_and_test(run, recipe)
    results = choose_split(run, "test")
    scores = dict(results.metrics["scores"])
    data = Path(recipe["data"]["root"])
    if data.name == "captions":
        truth = probe_scene_truth(results.predictions, data / "test.jsonl")
        truth.write(run / "probes" / "scene_truth.json")
        scores |= truth.scores
    return scores, seconds


_OTHER_HEAD = {"generative_vqa": "classifier_vqa", "classifier_vqa": "generative_vqa"}

PROBES = {
    **dict.fromkeys(_OTHER_HEAD, ("grounding", "calibration", "consistency", "priors")),
    "captioning": ("grounding", "attribution", "chair"),
}
"""Run -> its probes, the longest first."""


def run_probe(out: Path, run: str, name: str, seed: int) -> None:
    """Probe a run of the quickstart's folder, and write the finding into the run folder."""
    data = out / "scenes" / ("captions" if run == "captioning" else "vqa")
    predictions, train, test = predictions_file(out / run, "test"), data / "train.jsonl", data / "test.jsonl"
    other = predictions_file(out / _OTHER_HEAD.get(run, run), "test")
    shown: dict[str, Any] = {"cache": out / "cache", "seed": seed}

    def load() -> Predictor:
        return Predictor.load(out / run / "checkpoints" / "best.ckpt")

    with jobs.output_into(out / run):
        finding: Finding = {
            "grounding": lambda: grounding(load(), data, baseline=[out / f"{run}-blind"], **shown),
            "attribution": lambda: attribution(load(), data, **shown),
            "chair": lambda: probe_chair(predictions, test, references=test, training=train, seed=seed),
            "calibration": lambda: probe_calibration(predictions, test, seed=seed),
            "consistency": lambda: probe_consistency(predictions, test, other=other, seed=seed),
            "priors": lambda: probe_priors(train, test, predictions=predictions, seed=seed),
        }[name]()
    finding.write(out / run / "probes" / f"{name}.json")

"""Comparison of recurrences: one recipe trained with each, by the same budget and seeds; all scored on the same split
and timed side by side. Costs are parameters, the size of the state, and words per second in training and in decoding.

Independent of the recurrences, and of the rest of a recipe.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from vlrnn.data.batches import collate
from vlrnn.errors import UserError
from vlrnn.files import replacing
from vlrnn.inference.predictor import Predictor
from vlrnn.metrics.statistics import Floats, MeansByImage, Score, Scores
from vlrnn.nn.batching import leaves
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.spec import cell_part, file_name, named_cell
from vlrnn.probes.finding import Finding, constant_score
from vlrnn.probes.model.encoded_split import encoded
from vlrnn.progress import print_progress
from vlrnn.report.group import Group, group_runs
from vlrnn.report.run import load_run
from vlrnn.runs import is_scored
from vlrnn.studies.fitting import one_thread, require_least
from vlrnn.studies.jobs import keep_plan, output_into, run_all
from vlrnn.text.vocabulary import PAD
from vlrnn.training.cli import run_recipe
from vlrnn.training.recipes import Place, merged, over, overlay
from vlrnn.yaml_text import read_yaml

_IMAGES = 32  # in a batch

REFERENCE = "causal-self-attention"
"""Added to any recurrences as a reference."""


@dataclass(frozen=True)
class RecurrencesPlan:
    """The recipe, the cells and the seeds.

    Args:
        config: the recipe of a captioner or a VQA model, then overlays.
        cells: recurrences in the place of the recipe's, with their width, see `vlrnn.nn.recurrent.spec`; the others are
            compared with the first. Settings stand behind a colon: residual-stack:recurrence=mamba,num_layers=3.
        seeds: models of each.
        flags: of the recipe, as for vlrnn fit.
        seed: the first.
    """

    config: Sequence[str]
    cells: Sequence[str] = ("lstm", "rnn", "gru", "min-gru", "min-lstm", "rg-lru", "lru", "mamba", "rwkv")
    seeds: int = 1
    flags: Sequence[str] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.cells:
            raise UserError("--cells names no recurrence")
        require_least(self, seeds=1)
        folders = [file_name(cell) for cell in self.all_cells]
        if len(set(folders)) < len(folders):
            raise UserError(f"--cells: two of {', '.join(self.all_cells)} would be one")

    @property
    def all_cells(self) -> list[str]:
        """The cells and the reference."""
        return list(dict.fromkeys([*self.cells, REFERENCE]))


def recurrences(
    out: str | Path, plan: RecurrencesPlan, *, resamples: int = 1000, repeats: int = 5, overwrite: bool = False
) -> Finding:
    """Which recurrence scores best in the same recipe, and at what cost? Finished models in the folder are not trained
    again, and an interrupted one goes on.

    Args:
        out: the folder; gets the run folders `runs/CELL-seed-N`.
        plan: the recipe, the cells and the seeds.
        resamples: of the bootstrap over images.
        repeats: how often each is timed.
        overwrite: first move the folder's content aside.

    Returns:
        of each cell the score, CIDEr or accuracy, mean over its seeds; `difference` from the score of the first cell;
        and its costs, see `costs`. `details.seeds` has the score of each seed.

    Raises:
        UserError: the recipe has no recurrence, a cell cannot stand in its place, or the folder holds another plan.
    """
    out = Path(out)
    recipe = merged(plan.config)
    places = list(_recurrences(recipe))
    if not places:
        raise UserError(f"{', '.join(plan.config)}: has no recurrence that could be replaced")
    overlays = {cell: _overlay(cell, places) for cell in plan.all_cells}
    keep_plan(out, {"recipe": recipe, "flags": list(plan.flags), "seed": plan.seed}, overwrite=overwrite)
    jobs = [(_run(out, cell, seed), plan, overlays[cell], seed) for seed in _seeds(plan) for cell in plan.all_cells]
    run_all(train, [job for job in jobs if not is_scored(job[0])], "training", "models")
    print_progress("measuring their speed")
    timed = costs({cell: _run(out, cell, plan.seed) for cell in plan.all_cells}, repeats)
    return _measure(out, plan, timed, resamples)


def _run(out: Path, cell: str, seed: int) -> Path:
    return out / "runs" / f"{file_name(cell)}-seed-{seed}"


def _seeds(plan: RecurrencesPlan) -> range:
    return range(plan.seed, plan.seed + plan.seeds)


def _recurrences(tree: Any, place: Place = ()) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """The place and the config of every recurrence of a recipe."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == "recurrence" and isinstance(value, dict):
                yield (*place, key), value
            else:
                yield from _recurrences(value, (*place, key))


def _overlay(cell: str, places: Sequence[tuple[Place, Mapping[str, Any]]]) -> dict[str, Any]:
    """An overlay of the recipe that has a cell in all places, of the hidden size of the cell that it replaces."""
    found: dict[str, Any] = {}
    for place, config in places:
        width = (config.get("init_args") or {}).get("hidden_size")
        given = {} if width is None else {"hidden_size": width}
        if not named_cell(cell, 1, **given).causal and "question_encoder" not in place:
            raise UserError(f"{cell}: is not causal, and {'.'.join(place)} generates word by word; name a causal one")
        found = over(found, overlay(place, cell_part(cell, **given)))
    return found


def train(run: Path, plan: RecurrencesPlan, overlay: Mapping[str, Any], seed: int) -> None:
    """Train a cell, from its last checkpoint if there is one, and score the best checkpoint on test, or on val if the
    data set has no test."""
    run.mkdir(parents=True, exist_ok=True)
    path = run / "cell.yaml"
    with replacing(path) as file:
        yaml.safe_dump(dict(overlay), file, sort_keys=False)
    configs = [word for each in (*plan.config, str(path)) for word in ("--config", each)]
    into = ["--trainer.default_root_dir", str(run), "--seed_everything", str(seed)]
    with output_into(run, "w"):
        run_recipe("fit", [*configs, *plan.flags, *into, "--ckpt_path", "last"])
        config = run / "config.yaml"
        root = Path(read_yaml(config)["data"]["root"])
        command = "test" if (root / "test.jsonl").is_file() else "validate"
        run_recipe(command, ["--config", str(config), "--ckpt_path", str(run / "checkpoints" / "best.ckpt")])


def _measure(out: Path, plan: RecurrencesPlan, timed: Mapping[str, Scores], resamples: int) -> Finding:
    folders = {cell: [_run(out, cell, seed) for seed in _seeds(plan)] for cell in plan.all_cells}
    runs = [load_run(folder) for each in folders.values() for folder in each]
    group, *others = group_runs(runs)
    stored = [group.values(place) for place in range(len(runs))]
    found = [each for each in stored if each is not None]
    if others or not group.ids or len(found) < len(stored):
        raise UserError(f"{out}: its runs were not scored on the same examples; remove it, or the runs that differ")
    values = np.stack(found)  # [cells * seeds, items]
    of_cell = dict(zip(folders, values.reshape(len(folders), plan.seeds, -1), strict=True))
    means = MeansByImage([group.examples[id].image_id for id in group.ids], resamples, plan.seed)
    first = of_cell[plan.all_cells[0]].mean(0)
    scores = {
        cell: means.of({group.unit: each.mean(0), "difference": each.mean(0) - first}) | timed[cell]
        for cell, each in of_cell.items()
    }
    data, split = group.runs[0].scored_on or ("", "")
    given: dict[str, Any] = {"configs": list(plan.config), "flags": list(plan.flags), "cells": list(plan.cells)}
    given |= {"beside": REFERENCE, "seeds": plan.seeds, "seed": plan.seed}
    return Finding(
        scores,
        settings=given | {"scored_on": data, "scored_split": split, "unit": group.unit},
        details={"seeds": {cell: each.mean(1).tolist() for cell, each in of_cell.items()}},
        notes=_notes(group, plan),
    )


def _notes(group: Group, plan: RecurrencesPlan) -> list[str]:
    notes = []
    if group.runs[0].settings.get("split") == "val":
        notes.append("the data set has no test: scored on val, on which the checkpoints were also selected")
    if plan.seeds == 1:
        notes.append("one seed: the intervals are over images; other seeds of the same cell also differ")
    return notes


@one_thread()
def costs(runs: Mapping[str, Path], repeats: int = 5) -> dict[str, Scores]:
    """Measure models side by side, in turns; on a CPU the time of one thread.

    Args:
        runs: name -> the run folder of a model that was scored.
        repeats: how often each is timed.

    Returns:
        name -> `parameters` of its recurrences; `state`, the size of their state for a row; `trained_words`, words of
        captions or questions per second in training; `decoded_words`, words per second in decoding by its recipe, of
        captions, or of the answered questions. Times are medians, with the fastest and the slowest.
    """
    with ExitStack() as stack:
        timed = {name: _Timed(run, stack) for name, run in runs.items()}
        turns = [[(each.train(), each.decode()) for each in timed.values()] for _ in range(repeats + 1)]
    words = np.array(turns[1:])  # [repeats, models, 2]; the first time includes what is loaded once
    return {
        name: {
            "parameters": constant_score(each.parameters),
            "state": constant_score(each.state),
            "trained_words": _median(words[:, place, 0]),
            "decoded_words": _median(words[:, place, 1]),
        }
        for place, (name, each) in enumerate(timed.items())
    }


class _Timed:
    """A model, and a batch of the data that it was scored on."""

    def __init__(self, run: Path, stack: ExitStack) -> None:
        predictor = Predictor.load(run / "checkpoints" / "best.ckpt")
        self.task, self.device = predictor.task, predictor.device
        data, split = load_run(run).scored_on or ("", "")
        cache = read_yaml(run / "config.yaml")["data"]["cache"]
        cache = cache or run.parent.parent / "cache"  # shared by all: their encoders are the same
        examples = stack.enter_context(encoded(predictor, data, split, cache, captions=None))
        self.batch = collate(next(examples.batches(_IMAGES, "a batch"))).to(self.device)
        # Words of questions; of captions with their ends.
        rows = self.batch.tokens if "question" in self.task.accepts else self.batch.tokens[:, 1:]
        self.words = int((rows != PAD).sum())
        self.optimizer = self.task.optimization.optimizer(self.task, self.task.encoder)
        parts = _parts_of(self.task)
        self.parameters = sum(each.numel() for part in parts for each in part.parameters())
        self.state = sum(leaf[0].numel() for part in parts for leaf in leaves(part.initial_state(1)))

    def train(self) -> float:
        """Words per second of a step of training."""
        self.task.train()
        return self._speed(self._step)

    def decode(self) -> float:
        """Words per second of decoding."""
        self.task.eval()
        return self._speed(self._predict)

    def _step(self) -> int:
        loss = self.task.loss(self.batch)
        (loss.total / loss.count).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.words

    @torch.inference_mode()
    def _predict(self) -> int:
        predictions = self.task.predict(self.batch)
        if "question" in self.task.accepts:
            return self.words
        return sum(len(each.tokens) + 1 for each in predictions)  # with the end

    def _speed(self, step: Callable[[], int]) -> float:
        """Words per second of a function, which returns their number."""
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        began = clock()
        words = step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return words / (clock() - began)


def _parts_of(model: torch.nn.Module) -> list[Recurrence]:
    """The recurrences of a model, without those within others."""
    if isinstance(model, Recurrence):
        return [model]
    return [found for child in model.children() for found in _parts_of(child)]


def _median(measured: Floats) -> Score:
    low, value, high = np.quantile(measured, [0, 0.5, 1]).tolist()
    return {"value": value, "low": low, "high": high, "n": len(measured)}

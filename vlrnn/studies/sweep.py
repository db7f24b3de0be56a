"""A sweep over a recipe: trials of other settings of some of its keys, and the best of them by the task's own score on
val. Test is never used.

Independent of keys, tasks and samplers. A trial is stored in its run folder, and is not run again.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import yaml

from vlrnn.errors import UserError, one_line
from vlrnn.files import read_json, replacing, write_json
from vlrnn.probes.finding import Finding
from vlrnn.progress import print_progress, track
from vlrnn.report.run import load_run
from vlrnn.runs import choose_split
from vlrnn.studies.fitting import require_least
from vlrnn.studies.jobs import keep_plan, output_into, two_processes
from vlrnn.studies.search_space import (
    Plain,
    Sampler,
    Space,
    Tried,
    combinations,
    propose,
    read_space,
    recipe_of,
    short_names,
    whole_recipe,
)
from vlrnn.training.cli import run_recipe
from vlrnn.training.recipes import find_task, merged

_TOGETHER = 2
"""Trials that are proposed and run at a time. The next are proposed when all of them are done, so that proposals do not
depend on the speed of a machine."""


@dataclass(frozen=True)
class SweepPlan:
    """The recipe and its search space.

    Args:
        config: the recipe, then overlays.
        key: a key of the recipe, and its values: a range of numbers, 0.0..0.5, of integers, 16..64, or of orders of
            magnitude, log:1e-4..1e-2; or a choice, A,B,C, with recurrences by name, other classes by path. May be
            repeated.
        trials: number of settings.
        flags: of the recipe, as for vlrnn fit.
        sampler: TPE, which uses the previous trials, or random.
        seed: of all trials, and of the sampler.
    """

    config: Sequence[str]
    key: Sequence[str]
    trials: int = 20
    flags: Sequence[str] = ()
    sampler: Sampler = "tpe"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.key:
            raise UserError("--key is missing")
        require_least(self, trials=1)


class Trial(NamedTuple):
    """A finished trial: its number; the settings of the keys; its score, `{"value", "low", "high", "n"}`, and its
    seconds of training; or why it failed."""

    trial: int
    settings: Mapping[str, Plain]
    score: Mapping[str, float] | None
    seconds: float | None
    reason: str | None


class _Sweep(NamedTuple):
    """The common part of all trials: the folder, the search space, and the score that selects the best."""

    out: Path
    plan: SweepPlan
    space: Space
    score: str
    best: Literal["max", "min"]

    @property
    def last(self) -> int:
        """The number of the last trial; the first is 1."""
        return int(min(self.plan.trials, combinations(self.space)))

    @property
    def labels(self) -> dict[str, str]:
        """Key -> its name in tables."""
        return short_names([key.name for key in self.space])

    def run(self, number: int) -> Path:
        return self.out / "runs" / f"trial-{number:03d}"


def sweep(out: str | Path, plan: SweepPlan, *, overwrite: bool = False) -> Finding:
    """Which settings of a recipe score best on the validation split? Finished trials in the folder are not run again,
    an interrupted one goes on, and a later call for more trials runs those that one call would have run.

    Args:
        out: the folder; gets the run folders `runs/trial-NNN`, and `best.yaml`, the best settings as an overlay.
        plan: the recipe and its search space.
        overwrite: first move the folder's content aside.

    Returns:
        the score of each trial on val, the best first, and that of the `best` by itself. `details.trials` has the
        settings of all, and the reasons of failures.

    Raises:
        UserError: Optuna is not installed, the recipe has no such key, the folder holds another plan, or all failed.
    """
    if not find_spec("optuna"):
        raise UserError("a sweep needs Optuna: pip install 'vlrnn[sweep]'")
    recipe = whole_recipe([*_configs(plan), *plan.flags])
    space = read_space(plan.key, recipe)
    given = {"keys": list(plan.key), "flags": list(plan.flags), "sampler": plan.sampler, "seed": plan.seed}
    keep_plan(Path(out), {"recipe": merged(plan.config), **given}, overwrite=overwrite)
    task = find_task(recipe["model"]["class_path"])
    context = _Sweep(Path(out), plan, space, task.monitor, task.mode)
    return _found(context, list(track(_run_all(context), "sweep", total=context.last, unit="trials")))


def _configs(plan: SweepPlan) -> list[str]:
    return [word for each in plan.config for word in ("--config", each)]


def _run_all(context: _Sweep) -> Iterator[Trial]:
    done: list[Trial] = []
    with two_processes() as pool:
        for first in range(1, context.last + 1, _TOGETHER):
            together = range(first, min(first + _TOGETHER, context.last + 1))
            overlays = _begin(context, done, together)
            runs = {
                pool.submit(attempt, context.run(number), context.plan, context.score, overlay): number
                for number, overlay in overlays.items()
            }
            for run in as_completed(runs):
                run.result()
                trial = _read(context, runs[run])
                came = f"{context.score} {trial.score['value']:.4g}" if trial.score else f"failed: {trial.reason}"
                print_progress(f"{_name(context, trial)}: {came}")
            for number in together:
                done.append(_read(context, number))
                yield done[-1]


def _begin(context: _Sweep, done: Sequence[Trial], together: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Propose the next trials that have no proposal yet: number -> overlay, of those that are still to be run."""
    tried = [Tried(each.settings, each.score["value"] if each.score else math.nan) for each in done]
    waiting = {}
    for number in together:
        path = context.run(number) / "trial.json"
        if not path.is_file():
            settings = propose(context.space, tried, context.best, context.plan.sampler, (context.plan.seed, number))
            write_json(path, {"state": "begun", "settings": settings})
        record = read_json(path)
        tried.append(Tried(record["settings"], None))
        if record["state"] == "begun":
            waiting[number] = recipe_of(context.space, record["settings"])
    return waiting


def attempt(run: Path, plan: SweepPlan, score: str, overlay: Mapping[str, Any]) -> None:
    """Run a trial, from its last checkpoint if there is one, and write its state to `trial.json`: done, and
    `metrics.json` has the score of its best checkpoint on val, or failed."""
    path = run / "trial.yaml"
    with replacing(path) as file:
        yaml.safe_dump(dict(overlay), file, sort_keys=False)
    into = ["--seed_everything", str(plan.seed), "--config", str(path), "--trainer.default_root_dir", str(run)]
    record = read_json(run / "trial.json")
    with output_into(run, "w"):
        try:
            run_recipe("fit", [*_configs(plan), *plan.flags, *into, "--ckpt_path", "last"])
            best = str(run / "checkpoints" / "best.ckpt")
            run_recipe("validate", ["--config", str(run / "config.yaml"), "--ckpt_path", best])
            if score not in choose_split(run, "val").metrics["scores"]:
                raise UserError(f"val has no data for {score}")
            record["state"] = "done"
        except (UserError, torch.cuda.OutOfMemoryError) as fault:
            record |= {"state": "failed", "reason": one_line(str(fault))}
    write_json(run / "trial.json", record)


def _read(context: _Sweep, number: int) -> Trial:
    record = read_json(context.run(number) / "trial.json")
    if record["state"] == "failed":
        return Trial(number, record["settings"], None, None, record["reason"])
    run = load_run(context.run(number), "val")  # test may have been scored later
    seconds = sum(each for _, each in run.log.get("train/seconds", ()))
    return Trial(number, record["settings"], run.scores[context.score], round(seconds, 1), None)


def _name(context: _Sweep, trial: Trial) -> str:
    """The name of a trial in tables: its number and its settings."""
    values = {label: trial.settings[key] for key, label in context.labels.items()}
    settings = (f"{label}={each if isinstance(each, str) else json.dumps(each)}" for label, each in values.items())
    return f"trial {trial.trial}: {', '.join(settings)}"


def _found(context: _Sweep, trials: Sequence[Trial]) -> Finding:
    scored = [(each.score["value"], each) for each in trials if each.score]
    failed = [each for each in trials if not each.score]
    if not scored:
        raise UserError(
            f"all {len(trials)} trials failed, the first because: {failed[0].reason}; when that is fixed, remove "
            f"{context.out / 'runs'} to try them again"
        )
    order = [each for _, each in sorted(scored, key=lambda pair: pair[0], reverse=context.best == "max")]
    best = order[0]
    with replacing(context.out / "best.yaml") as file:
        of = f"# Overlay: the settings of the best of {len(trials)} trials of vlrnn study sweep, trial {best.trial}."
        file.write(f"{of} Give it behind the recipe.\n")
        yaml.safe_dump(recipe_of(context.space, best.settings), file, sort_keys=False)
    settings = load_run(context.run(best.trial), "val").settings
    given = {"configs": list(context.plan.config), "flags": list(context.plan.flags), "keys": list(context.plan.key)}
    return Finding(
        {"best": {context.score: best.score}, **{_name(context, each): {context.score: each.score} for each in order}},
        settings=given
        | {"trials": len(trials), "sampler": context.plan.sampler, "seed": context.plan.seed}
        | {"score": context.score, "best": context.best}
        | {"scored_on": settings.get("data", ""), "scored_split": settings.get("split", "")},
        details={"labels": context.labels, "best": best.trial, "trials": [each._asdict() for each in trials]},
        not_computed={_name(context, each): str(each.reason) for each in failed},
        notes=_notes(context, len(trials), failed),
    )


def _notes(context: _Sweep, trials: int, failed: Sequence[Trial]) -> list[str]:
    notes = [
        f"the best of {trials} trials was chosen by these scores, on val: its own is optimistic, and its interval does "
        "not tell of that; report what the model of best.yaml scores on test"
    ]
    if trials < context.plan.trials:
        notes.append(f"{trials} trials are all combinations of the values")
    if failed:
        first = f"{_name(context, failed[0])}, because: {failed[0].reason}"
        notes.append(f"{len(failed)} of {trials} trials failed, the first, {first}")
    return notes

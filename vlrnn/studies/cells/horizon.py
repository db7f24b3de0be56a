"""Memory horizon of recurrences: the longest length at which a cell solves tasks of memory alone (copying, adding),
within one training budget.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vlrnn.errors import UserError
from vlrnn.files import read_json, write_json
from vlrnn.metrics.statistics import MeansByImage
from vlrnn.nn.question_encoder import SequenceClassifier
from vlrnn.nn.recurrent.base import require_causal
from vlrnn.nn.recurrent.spec import file_name, named_cell
from vlrnn.probes.finding import Finding, constant_score
from vlrnn.studies.fitting import TaskBatch, fit_small, require_least
from vlrnn.studies.jobs import keep_plan, run_all


class MemoryTask:
    """The interface. In a row of length N the relevant input is N steps, or within N steps, before the output.

    Attributes:
        inputs, outputs: I and O.
        measure: the name of `error`.
        chance: the error of a prediction that is independent of the inputs.
        solved: the error below which the task is solved.
    """

    inputs: int
    outputs: int
    measure: str
    chance: float
    solved: float

    def draw(self, rows: int, length: int, generator: torch.Generator) -> TaskBatch:
        """Rows of a length: inputs [B, T, I], and the targets of the last steps [B, ...]."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of all outputs [B, T, O]."""
        raise NotImplementedError

    def error(self, outputs: Tensor, targets: Tensor) -> float:
        """The error of all outputs [B, T, O], see `measure`."""
        raise NotImplementedError


class Copying(MemoryTask):
    """Some symbols; N blanks; a delimiter; then the target is the symbols again (Hochreiter and Schmidhuber 1997,
    section 5; in this form Arjovsky, Shah, Bengio 2016, section 5.1).

    Args:
        symbols: number of different symbols.
        items: number of symbols to remember.
    """

    measure = "share of symbols wrong"
    solved = 0.05

    def __init__(self, symbols: int = 4, items: int = 4) -> None:
        self.symbols, self.items = symbols, items
        self.inputs, self.outputs = symbols + 2, symbols  # a blank, and the delimiter
        self.chance = 1 - 1 / symbols

    def draw(self, rows: int, length: int, generator: torch.Generator) -> TaskBatch:
        wanted = torch.randint(0, self.symbols, (rows, self.items), generator=generator)
        symbols = torch.full((rows, 2 * self.items + length), self.symbols)
        symbols[:, : self.items] = wanted
        symbols[:, self.items + length] = self.symbols + 1
        return TaskBatch(F.one_hot(symbols, self.inputs).float(), wanted)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs[:, -self.items :].flatten(0, 1), targets.flatten())

    def error(self, outputs: Tensor, targets: Tensor) -> float:
        return float((outputs[:, -self.items :].argmax(-1) != targets).float().mean())


class Adding(MemoryTask):
    """N numbers between 0 and 1, of which two are marked, one in each half; the target is their sum (Hochreiter and
    Schmidhuber 1997, section 5.4)."""

    inputs, outputs = 2, 1
    measure = "mean squared error"
    chance = 1 / 6  # the variance of the sum, around its mean, 1
    solved = 0.01

    def draw(self, rows: int, length: int, generator: torch.Generator) -> TaskBatch:
        numbers = torch.rand(rows, length, generator=generator)
        marks = torch.zeros(rows, length)
        half = length // 2
        for begin, end in ((0, half), (half, length)):
            marks.scatter_(1, torch.randint(begin, end, (rows, 1), generator=generator), 1.0)
        return TaskBatch(torch.stack([numbers, marks], -1), (numbers * marks).sum(1))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs[:, -1, 0], targets)

    def error(self, outputs: Tensor, targets: Tensor) -> float:
        return float(self.loss(outputs, targets))


TASKS: dict[str, MemoryTask] = {"copy": Copying(), "add": Adding()}

_TESTED = 1000  # rows
_CLIP = 1.0
_WARMUP = 0.05


@dataclass(frozen=True)
class HorizonPlan:
    """The trainings: each cell on each task at each length, by AdamW.

    Args:
        tasks: copy, add.
        lengths: in steps.
        seeds: trainings of each.
        steps: of training.
        rows: of a batch.
        width: of the cells.
        lr: the highest learning rate, after warm-up; it then decays to 0.
        seed: the first.
    """

    tasks: Sequence[str] = ("copy", "add")
    lengths: Sequence[int] = (8, 16, 32, 64, 128)
    seeds: int = 2
    steps: int = 1000
    rows: int = 64
    width: int = 64
    lr: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task not in TASKS:
                raise UserError(f"--tasks: no task {task}; there are {', '.join(TASKS)}")
        if not self.lengths or list(self.lengths) != sorted(set(self.lengths)) or self.lengths[0] < 2:
            raise UserError("--lengths must increase, from 2 or more")
        require_least(self, seeds=1, steps=1, rows=1, width=1)
        if not self.lr > 0:
            raise UserError(f"--lr must be above 0, not {self.lr}")


def horizon(
    out: str | Path,
    plan: HorizonPlan,
    *,
    cells: Sequence[str] = ("rnn", "gru", "lstm", "lstm:chrono=100"),
    resamples: int = 1000,
    overwrite: bool = False,
) -> Finding:
    """Over how many steps do recurrences learn to keep information, in the copy and the adding task? Results of an
    earlier call with the same plan and folder are not computed again.

    Args:
        out: the folder; gets `learnt/TASK-CELL-SEED.json`.
        plan: the trainings.
        cells: recurrences by their names, see `vlrnn.nn.recurrent.spec`.
        resamples: of the bootstrap over seeds.
        overwrite: first move the folder's content aside.

    Returns:
        task -> cell -> `horizon`, in steps, 0 where no length was solved, and `at_N`, the error at each length. The row
        `chance` has the error without any memory.

    Raises:
        UserError: there is no such cell, it is not causal, or the folder holds another plan.
    """
    out = Path(out)
    if not cells:
        raise UserError("--cells names no recurrence")
    for cell in cells:
        require_causal(named_cell(cell, 1, hidden_size=plan.width))
    stored_plan = {**asdict(plan), "tasks": list(plan.tasks), "lengths": list(plan.lengths), "seeds": None}
    keep_plan(out, stored_plan, overwrite=overwrite)
    jobs = [(task, cell, plan.seed + number) for number in range(plan.seeds) for task in plan.tasks for cell in cells]
    left = [(out, plan, *job) for job in jobs if not _result_file(out, *job).is_file()]
    run_all(learn, left, "training", "cells")
    errors = {job: read_json(_result_file(out, *job))["errors"] for job in jobs}
    means = MeansByImage(list(range(plan.seeds)), resamples, plan.seed)
    scores: dict[str, dict[str, Any]] = {}
    for task in plan.tasks:
        for cell in cells:
            found = np.array([errors[task, cell, plan.seed + number] for number in range(plan.seeds)])
            reached = {"horizon": _reached(found < TASKS[task].solved, plan.lengths)}
            scores.setdefault(task, {})[cell] = means.of(
                reached | {f"at_{length}": found[:, place] for place, length in enumerate(plan.lengths)}
            )
    chance = {
        task: {f"at_{length}": constant_score(TASKS[task].chance) for length in plan.lengths} for task in plan.tasks
    }
    return Finding(
        scores,
        settings={**asdict(plan), "tested": _TESTED, "clip": _CLIP}
        | {"measures": {task: TASKS[task].measure for task in plan.tasks}}
        | {"solved_below": {task: TASKS[task].solved for task in plan.tasks}},
        baselines={"chance": {task: dict.fromkeys(cells, each) for task, each in chance.items()}},
    )


def _reached(solved: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """The longest length up to which all are solved [seeds], from `solved` [seeds, lengths]."""
    count = np.logical_and.accumulate(solved, 1).sum(1)
    return np.take([0, *lengths], count)


def _result_file(out: Path, task: str, cell: str, seed: int) -> Path:
    return out / "learnt" / f"{task}-{file_name(cell)}-{seed}.json"


def learn(out: Path, plan: HorizonPlan, task: str, cell: str, seed: int) -> None:
    """Train a cell on a task at all lengths, and write the errors to a file."""
    errors = [_error(TASKS[task], cell, length, plan, seed) for length in plan.lengths]
    write_json(_result_file(out, task, cell, seed), {"errors": errors})


def _error(task: MemoryTask, cell: str, length: int, plan: HorizonPlan, seed: int) -> float:
    """Error on new rows after training from scratch at one length."""
    torch.manual_seed(seed)
    drawing = torch.Generator().manual_seed(seed + 1)
    recurrence = named_cell(cell, None, hidden_size=plan.width)
    model = SequenceClassifier(recurrence, task.outputs).build(task.inputs)
    optimizer = torch.optim.AdamW(model.parameters(), plan.lr, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.lr, plan.steps + 1, pct_start=_WARMUP)
    batches = (task.draw(plan.rows, length, drawing) for _ in range(plan.steps))
    fit_small(batches, lambda each: task.loss(model(each.inputs), each.targets), optimizer, schedule, _CLIP)
    batch = task.draw(_TESTED, length, drawing)
    with torch.inference_mode():
        return task.error(model(batch.inputs), batch.targets)

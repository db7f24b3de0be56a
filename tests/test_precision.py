"""Every precision that the Trainer offers: it works, or one line tells why it does not."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from lightning_fabric.plugins.precision.precision import _PRECISION_INPUT
from quick import quick
from test_gpu_synchronization import TASKS, batch, move
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from vlrnn.cli import main
from vlrnn.data.records import Example
from vlrnn.data.text_datamodule import TextBatch
from vlrnn.training.checkpoint import load_task
from vlrnn.training.module import Task

PRECISIONS = sorted({value for kind in get_args(_PRECISION_INPUT) for value in get_args(kind) if "-" in str(value)})
REFUSED = {"transformer-engine": "transformer", "transformer-engine-float16": "transformer"}
MODELS = {"bf16-true": "speaker", "64-true": "classifier"}  # of others the captioner, as below


def test_all_are_tried() -> None:
    assert {"16-true", "bf16-true", "64-true", "16-mixed", "bf16-mixed", "32-true"} < set(PRECISIONS)


def run(command: str, model: str, precision: str, world: Any, run: Path, *more: str) -> int:
    flags = [f"--trainer.precision={precision}", f"--trainer.default_root_dir={run}", *more]
    return main([command, "--config", str(world.recipe(model)), *flags, "--quiet"])


@pytest.mark.parametrize("precision", quick(PRECISIONS, *MODELS, *REFUSED, "32-true"))
@pytest.mark.filterwarnings("ignore")
def test_it_works_or_is_refused(precision: str, world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = MODELS.get(precision, "captioner")
    code = run("fit", model, precision, world, tmp_path)
    printed = capsys.readouterr().err
    if precision in REFUSED:
        assert code == 2
        assert REFUSED[precision] in printed.lower()
        assert printed.count("\n") == 1
        return
    assert code == 0, printed
    for command in ("validate", "test"):
        assert run(command, model, precision, world, tmp_path) == 0, capsys.readouterr().err
        metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
        assert metrics["scores"]
    task = load_task(tmp_path / "checkpoints" / "best.ckpt", Task)
    assert all(each.dtype == torch.float32 for each in task.parameters())
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("precision", quick(["bf16-true", "64-true"], "bf16-true"))
@pytest.mark.filterwarnings("ignore")
def test_from_a_cache(precision: str, world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = f"--data.cache={tmp_path / 'cache'}"
    for command in ("fit", "validate"):
        assert run(command, "captioner", precision, world, tmp_path / "run", cache) == 0, capsys.readouterr().err


@pytest.mark.parametrize("precision", quick(["bf16-true", "64-true"], "64-true"))
@pytest.mark.filterwarnings("ignore")
def test_scores_are_those_of_the_model(precision: str, world: Any, tmp_path: Path) -> None:
    """One that has learnt in single precision answers alike in another, to rounding."""
    found = []
    for each in ("32-true", precision):
        best = f"--ckpt_path={world.checkpoint('captioner')}"
        assert run("validate", "captioner", each, world, tmp_path / each, best) == 0
        lines = (tmp_path / each / "predictions.jsonl").read_text().splitlines()
        found.append([json.loads(line)["score"] for line in lines])
    for one, other in zip(*found, strict=True):
        assert one == pytest.approx(other, rel=1e-5 if precision == "64-true" else 0.1)


# No number of 64 bits on a device: Apple's GPUs have none.

ATEN = torch.ops.aten
GPU = torch.device("meta")  # which every build of torch knows
DOUBLE = (torch.float64, torch.complex128)


class OnGPU(Tensor):
    """A tensor that says that it is elsewhere; `here` has its numbers."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "OnGPU":
        shape = {"strides": here.stride(), "storage_offset": here.storage_offset()}
        made = Tensor._make_wrapper_subclass(cls, here.shape, **shape, dtype=here.dtype, device=GPU)
        made.here = here
        return made

    def tolist(self) -> Any:  # which torch has for no subclass
        return self.here.tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError(f"{function} beside the mode")


class Pretended(TorchDispatchMode):
    """A GPU whose numbers have 32 bits at most."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, OnGPU)]
        device = kwargs.get("device")
        on_gpu = bool(given) if device is None else torch.device(device).type == GPU.type
        if device is not None:
            kwargs["device"] = torch.device("cpu")
        args, kwargs = tree_map_only(OnGPU, lambda each: each.here, (args, kwargs))
        found = function(*args, **kwargs)
        if not on_gpu:
            return found
        wrapped = {id(each.here): each for each in given}  # what was changed in place stays what it was
        where_packed = function is ATEN._pack_padded_sequence.default  # how long rows are stays here

        def wrap_result(each: Tensor) -> Tensor:
            if id(each) in wrapped:
                return wrapped[id(each)]
            return each if where_packed and each is found[1] else self._on_gpu(each, function)

        return tree_map_only(Tensor, wrap_result, found)

    def _on_gpu(self, each: Tensor, function: Any) -> OnGPU:
        assert each.dtype not in DOUBLE, f"{function} makes {each.dtype} on a device"
        return OnGPU(each)


@pytest.fixture
def gpu() -> Iterator[None]:
    with warnings.catch_warnings(action="ignore"), Pretended():
        yield


@pytest.fixture(params=list(TASKS))
def task(request: pytest.FixtureRequest, gpu: None, monkeypatch: pytest.MonkeyPatch) -> Task:
    """A task there, with as much of a Trainer as it asks for; `logged` holds what it logs."""
    made: Any = TASKS[request.param]()
    move(made, GPU)
    made.logged = {}
    monkeypatch.setattr(Task, "global_step", 0)
    monkeypatch.setattr(Task, "log", lambda self, name, value, **_: self.logged.update({name: value}))
    made._trainer = SimpleNamespace(
        world_size=1,
        accumulate_grad_batches=1,
        sanity_checking=False,
        fast_dev_run=False,
        is_global_zero=False,  # which writes nothing
        default_root_dir=".",
        state=SimpleNamespace(fn="validate"),
    )
    return made


def words(task: Task) -> Any:
    """Examples of the kind that the task is for."""
    found, kind = batch(), type(task).__name__
    if kind == "LanguageModel":
        texts = tuple(Example(each.id, "1", "1.png", ("ab c",)) for each in found.examples)
        return TextBatch(found.tokens, True, texts)
    return found._replace(examples=found.examples[:2]) if kind == "Captioner" else found


@torch.no_grad()
def test_validation_and_test(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses, their sums over a validation, what is predicted, and what is logged."""
    monkeypatch.setattr(type(task), "score", lambda *_: {"scores": {task.monitor: 0.5}, "settings": {}})
    task.eval()
    for _ in range(2):
        task.validation_step(words(task).to(GPU), 0)
    task.on_validation_epoch_end()
    assert task.logged["val/loss"].device == GPU
    assert all(each.dtype not in DOUBLE for each in task.logged.values() if isinstance(each, Tensor))
    task.test_step(words(task).to(GPU), 0)
    assert task._predictions


def test_a_step_of_training(task: Any) -> None:
    task.train()
    with torch.no_grad():  # going back is no other: it has the types of going forth
        task.training_step(words(task).to(GPU), 0)
        for each in task.parameters():
            each.grad = torch.zeros_like(each)
        task.on_before_optimizer_step(None)
    assert task.logged["train/loss"].device == GPU


def test_numbers_of_64_bits_on_a_device_are_found(gpu: None) -> None:
    on_gpu = torch.ones(3).to(GPU)
    assert on_gpu.sum().item() == 3
    assert on_gpu.cpu().double().dtype == torch.float64
    ways = [
        lambda: on_gpu.double(),
        lambda: torch.zeros(2, dtype=torch.float64, device=GPU),
        lambda: torch.zeros(2, dtype=torch.float64).to(GPU),
        lambda: on_gpu.sum(dtype=torch.float64),
        lambda: on_gpu.new_zeros(2, dtype=torch.float64),
    ]
    for make in ways:
        with pytest.raises(AssertionError, match="float64 on a device"):
            make()

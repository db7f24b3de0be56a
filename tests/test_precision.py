"""Every precision that the Trainer offers: it works, or one line tells why it does not."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from lightning_fabric.plugins.precision.precision import _PRECISION_INPUT
from quick import quick

from vlrnn.cli import main
from vlrnn.training.checkpoint import load_task
from vlrnn.training.module import Task

KNOWN = sorted({value for kind in get_args(_PRECISION_INPUT) for value in get_args(kind) if "-" in str(value)})
REFUSED = {"transformer-engine": "transformer", "transformer-engine-float16": "transformer"}
MODELS = {"bf16-true": "speaker", "64-true": "classifier"}  # of others the captioner, as below


def test_all_are_tried() -> None:
    assert {"16-true", "bf16-true", "64-true", "16-mixed", "bf16-mixed", "32-true"} < set(KNOWN)


def run(command: str, model: str, precision: str, world: Any, run: Path, *more: str) -> int:
    flags = [f"--trainer.precision={precision}", f"--trainer.default_root_dir={run}", *more]
    return main([command, "--config", str(world.recipe(model)), *flags, "--quiet"])


@pytest.mark.parametrize("precision", quick(KNOWN, *MODELS, *REFUSED, "32-true"))
@pytest.mark.filterwarnings("ignore")
def test_it_works_or_is_refused(precision: str, world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = MODELS.get(precision, "captioner")
    code = run("fit", model, precision, world, tmp_path)
    told = capsys.readouterr().err
    if precision in REFUSED:
        assert code == 2
        assert REFUSED[precision] in told.lower()
        assert told.count("\n") == 1
        return
    assert code == 0, told
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

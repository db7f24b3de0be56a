"""Where a captioner looked, as testing it leaves that in its run folder; and what made the run."""

import base64
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl

import vlrnn
from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.records import AttentionMaps, Prediction, RecordFile, open_split
from vlrnn.inference.predictor import Predictor
from vlrnn.training.evaluation import provenance


def run_of(checkpoint: Path, data: Path, run: Path) -> Path:
    task = Predictor.load(checkpoint, "cpu").task
    trainer = pl.Trainer(accelerator="cpu", default_root_dir=run, logger=False, enable_progress_bar=False)
    with warnings.catch_warnings(action="ignore"):
        trainer.test(task, datamodule=VisionLanguageData(str(data), batch_size=3), verbose=False)
    return run


def test_the_maps_are_those_of_the_model(checkpoints: Any, dataset: Path, tmp_path: Path) -> None:
    run = run_of(checkpoints.file, dataset, tmp_path / "run")
    predictions = list(RecordFile(run / "predictions.jsonl", Prediction))
    attended = list(RecordFile(run / "attention.jsonl", AttentionMaps))
    assert [each.id for each in attended] == [each.id for each in predictions]
    predictor = Predictor.load(checkpoints.file, "cpu")
    images = {example.id: dataset / example.image for example in open_split(dataset, "test")}
    for prediction, maps in zip(predictions, attended, strict=True):
        weights = predictor.attention(images[prediction.id], prediction.tokens)
        assert weights is not None
        assert len(maps.peaks) == len(maps.gates) == len(prediction.log_probs)
        shares = np.frombuffer(base64.b64decode(maps.maps), np.uint8).reshape(len(maps.peaks), -1)
        np.testing.assert_allclose(
            shares / 255 * np.array(maps.peaks)[:, None], weights[: len(maps.peaks)], atol=0.5 / 255 + 1e-4
        )
        assert all(0 < gate < 1 for gate in maps.gates)


def test_a_model_that_does_not_attend_leaves_none(checkpoints: Any, dataset: Path, tmp_path: Path) -> None:
    run = run_of(checkpoints.file, dataset, tmp_path / "run")
    assert (run / "attention.jsonl").is_file()
    run_of(checkpoints.plain, dataset, run)
    assert not (run / "attention.jsonl").exists()  # nor those of the model that was tested there before


def test_a_run_names_what_made_it(
    checkpoints: Any, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(checkpoints.plain, dataset, tmp_path / "run")
    made = json.loads((run / "metrics.json").read_text())["provenance"]
    assert made["vlrnn"] == vlrnn.__version__
    assert {"date", "python", "torch", "device"} <= made.keys()
    monkeypatch.setattr(vlrnn, "__file__", str(tmp_path / "installed" / "vlrnn" / "__init__.py"))
    assert "commit" not in provenance()  # of nobody else's repository

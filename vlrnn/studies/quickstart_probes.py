"""What the quickstart asks of its models beside their scores: each probe of each model, into its run folder."""

from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from vlrnn.instruments.attribution import attribution
from vlrnn.instruments.grounding import grounding
from vlrnn.predictor import Predictor
from vlrnn.probes.calibration import probe_calibration
from vlrnn.probes.chair import probe_chair
from vlrnn.probes.consistency import probe_consistency
from vlrnn.probes.finding import Finding
from vlrnn.probes.object_spans import PhraseTable, object_names, phrases
from vlrnn.probes.priors import probe_priors
from vlrnn.runs import predictions_file

_OTHER_HEAD = {"generative_vqa": "classifier_vqa", "classifier_vqa": "generative_vqa"}

PROBES = {
    **dict.fromkeys(_OTHER_HEAD, ("grounding", "calibration", "consistency", "priors")),
    "captioning": ("grounding", "attribution", "chair"),
}
"""Run -> what it is probed for, the longest first."""


def run_probe(out: Path, run: str, name: str, seed: int) -> None:
    """Probe a run of the quickstart's folder, and write what was found into the run's own."""
    data = out / "scenes" / ("captions" if run == "captioning" else "vqa")
    said, train, test = predictions_file(out / run, "test"), data / "train.jsonl", data / "test.jsonl"
    other = predictions_file(out / _OTHER_HEAD.get(run, run), "test")
    shown: dict[str, Any] = {"cache": out / "cache", "seed": seed}

    def load() -> Predictor:
        return Predictor.load(out / run / "checkpoints" / "best.ckpt")

    def find() -> PhraseTable:
        return PhraseTable(phrases(object_names(data), None))

    with (out / run / "output.txt").open("a", encoding="utf-8") as told, redirect_stderr(told):
        finding: Finding = {
            "grounding": lambda: grounding(load(), data, baselines=[out / f"{run}-blind"], **shown),
            "attribution": lambda: attribution(load(), data, find=find().find, **shown),
            "chair": lambda: probe_chair(said, test, references=test, training=train, seed=seed),
            "calibration": lambda: probe_calibration(said, test, seed=seed),
            "consistency": lambda: probe_consistency(said, test, other=other, seed=seed),
            "priors": lambda: probe_priors(train, test, predictions=said, seed=seed),
        }[name]()
    finding.write(out / run / "probes" / f"{name}.json")

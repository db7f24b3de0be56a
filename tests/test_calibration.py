"""Calibration and selective prediction: laws, a literal oracle, the command line."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.cli import main
from vlrnn.data.records import Example, Prediction, write_records
from vlrnn.metrics.statistics import Floats
from vlrnn.probes.calibration import BINS, RISKS, ConfidenceTable, fit_temperature, tempered

ANSWERS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.33, 0.5, 0.99, 1.0]), st.sampled_from([0.0, 0.3, 1.0])),
    min_size=1,
    max_size=30,
)


def judged(sure: Any, right: Any) -> ConfidenceTable:
    return ConfidenceTable(np.array(sure, float), np.array(right, float), np.arange(len(sure)))


def literal(sure: Floats, right: Floats) -> dict[str, float]:
    """One question after the other."""
    n = len(sure)
    bins = [[i for i in range(n) if min(int(sure[i] * BINS), BINS - 1) == b] for b in range(BINS)]
    found = {"ECE": sum(abs(sum(sure[i] - right[i] for i in each)) for each in bins) / n}
    found["Brier"] = sum((sure[i] - right[i]) ** 2 for i in range(n)) / n

    def risk(least: float) -> tuple[float, float]:
        answered = [i for i in range(n) if sure[i] >= least]
        return sum(1 - right[i] for i in answered) / len(answered), len(answered) / n

    found["AURC"] = sum(risk(sure[i])[0] for i in range(n)) / n
    best = sorted(right, reverse=True)
    found["E_AURC"] = found["AURC"] - sum(sum(1 - each for each in best[: k + 1]) / (k + 1) for k in range(n)) / n
    for most in RISKS:
        found[f"{most:.0%}"] = max([share for wrong, share in map(risk, sure) if wrong <= most + 1e-12], default=0)
    return found


@given(ANSWERS)
def test_it_is_what_one_by_one_gives(answers: list[tuple[float, float]]) -> None:
    sure, right = np.array(answers).T
    scores = judged(sure, right).scores(5, 0)
    scores |= scores.pop("coverage_at_risk")
    for name, value in literal(sure, right).items():
        assert scores[name]["value"] == pytest.approx(value, abs=1e-9), name


def test_calibrated_confidence_has_no_error() -> None:
    scores = judged([1, 1, 1, 0, 0], [1, 1, 1, 0, 0]).scores(50, 0)
    assert scores["ECE"]["value"] == scores["ECE_adaptive"]["value"] == scores["Brier"]["value"] == 0
    assert judged([0.9, 0.8, 0.7, 0.2, 0.1], [1, 1, 1, 0, 0]).scores(50, 0)["E_AURC"]["value"] == pytest.approx(0)
    assert scores["coverage_at_risk"]["1%"]["value"] == 0.6


def test_the_interval_is_over_images() -> None:
    """Questions about one image are drawn together."""
    sure, right = np.ones(40), np.repeat([1.0, 0.0], 20)
    one_each = ConfidenceTable(sure, right, np.arange(40)).scores(300, 0)["ECE"]
    two_images = ConfidenceTable(sure, right, np.repeat([0, 1], 20)).scores(300, 0)["ECE"]
    assert two_images["high"] - two_images["low"] > 0.9
    assert 0.3 < one_each["low"] < 0.5 < one_each["high"] < 0.7


@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_order_of_the_file_does_not_matter(answers: list[tuple[float, float]], random: Random) -> None:
    shuffled = random.sample(answers, len(answers))
    one, other = (judged(*np.array(each).T).scores(5, 0) for each in (answers, shuffled))
    for scores in (one, other):
        scores |= scores.pop("coverage_at_risk")
    for name, score in one.items():
        assert score["value"] == pytest.approx(other[name]["value"], abs=1e-9), name


def test_bins_of_equal_mass() -> None:
    """Thirty answers make fifteen bins of two; where those err to both sides, nothing is wrong in it."""
    sure = np.linspace(0.41, 0.7, 30)
    right = sure + np.tile([0.1, -0.1], 15)
    assert judged(sure, right).scores(5, 0)["ECE_adaptive"]["value"] == pytest.approx(0)
    assert judged(sure, sure + 0.1).scores(5, 0)["ECE_adaptive"]["value"] == pytest.approx(0.1)


@given(st.floats(0.3, 3))
def test_the_temperature_is_found(temperature: float) -> None:
    random = np.random.default_rng(0)
    honest = random.uniform(0.02, 0.98, 4000)
    right = (random.uniform(size=4000) < honest).astype(float)
    boasting = tempered(honest, 1 / temperature)
    assert fit_temperature(boasting, right) == pytest.approx(temperature, rel=0.1)
    assert tempered(honest, 1) == pytest.approx(honest)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    examples = [Example(n, n // 2, "a.png", question="what", answers=("cat",) * 10) for n in range(8)]
    predictions = [Prediction(n, n // 2, "cat" if n < 6 else "dog", score=0.9 if n != 7 else 0.95) for n in range(8)]
    write_records(tmp_path / "test.jsonl", examples)
    write_records(tmp_path / "said.jsonl", predictions)
    return ["--predictions", str(tmp_path / "said.jsonl"), "--references", str(tmp_path / "test.jsonl")]


def test_on_the_command_line(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["probe", "calibration", *files, "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["settings"]["accuracy"] == 0.75
    assert found["scores"]["ECE"]["value"] == pytest.approx(abs(7 * 0.9 + 0.95 - 6) / 8)
    assert [case["id"] for case in found["cases"]] == [7, 6]
    assert found["baselines"]["always sure"]["ECE"]["value"] == pytest.approx(0.25)
    assert (
        found["baselines"]["base rate"]["ECE"]["value"] == found["baselines"]["base rate"]["ECE_adaptive"]["value"] == 0
    )
    assert "tempered" in found["not_computed"]
    assert sum(each["n"] for each in found["details"]["reliability"]) == 8
    assert found["details"]["risk_coverage"][-1] == {"coverage": 1.0, "risk": 0.25}
    assert (
        main(["probe", "calibration", *files, "--val", files[1], "--val_references", files[3], "--out", str(out)]) == 0
    )
    found = json.loads(out.read_text())
    assert found["scores"]["tempered"]["Brier"]["value"] < found["scores"]["Brier"]["value"]
    assert found["settings"]["temperature"] > 1
    assert found["scores"]["tempered"].keys() == {"ECE", "ECE_adaptive", "Brier"}
    assert found["notes"] == [
        "8 questions of val are also evaluated: 0, 1, 2, ...",
        f"temperature {found['settings']['temperature']:.4g}, fitted on 8 answers of val",
    ]


@pytest.mark.parametrize(("answer", "verdict"), [("cat", "right"), ("dog", "wrong")])
def test_a_val_of_one_kind_fits_no_temperature(files: list[str], tmp_path: Path, answer: str, verdict: str) -> None:
    write_records(tmp_path / "val.jsonl", [Prediction(n, n // 2, answer, score=0.5) for n in range(8)])
    more = ["--val", str(tmp_path / "val.jsonl"), "--val_references", files[3], "--out", str(tmp_path / "out.json")]
    assert main(["probe", "calibration", *files, *more]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["not_computed"] == {"tempered": f"all 8 answers of val are {verdict}"}
    assert "tempered" not in found["scores"]
    assert found["settings"]["temperature"] is None


def test_mistakes_are_reported(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "calibration", *files, "--val", files[1]]) == 2
    assert "belong together" in capsys.readouterr().err
    write_records(tmp_path / "said.jsonl", [Prediction(n, n // 2, "cat", score=-3.0) for n in range(8)])
    assert main(["probe", "calibration", *files]) == 2
    assert "said.jsonl: the answer to question 0 has no confidence" in capsys.readouterr().err
    write_records(tmp_path / "said.jsonl", [Prediction(n, n // 2 if n != 2 else 7, "cat", score=0.5) for n in range(8)])
    assert main(["probe", "calibration", *files]) == 2
    assert "the answer to question 2 is about image 7, the question about 1" in capsys.readouterr().err
    write_records(tmp_path / "said.jsonl", [Prediction(0, 0, "cat", score=0.5)])
    assert main(["probe", "calibration", *files]) == 2
    assert "7 ids missing: 1, 2, 3, ... (there must be one for each)" in capsys.readouterr().err
    write_records(tmp_path / "test.jsonl", [Example(0, 0, "a.png", question="what")])
    assert main(["probe", "calibration", *files]) == 2
    assert "test.jsonl: 1 of 1 questions have no answers: 0" in capsys.readouterr().err

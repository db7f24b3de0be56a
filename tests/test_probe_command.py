"""`vlrnn probe`: what all probes have in common on the command line."""

import json
from pathlib import Path

import pytest

from vlrnn.cli import main
from vlrnn.commands.probe import show
from vlrnn.data.records import Prediction, RecordFile, open_split, write_records
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.probes.finding import Finding
from vlrnn.runs import scored, write_predictions, write_scores


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with their references for predictions, of which one is of another scene."""
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, train=0, val=0, test=12, image_size=32)
    examples = list(open_split(folder / "captions", "test"))
    predictions = [Prediction(each.id, each.image_id, each.captions[0]) for each in examples]
    write_records(
        folder / "said.jsonl", [Prediction(predictions[0].id, predictions[0].image_id, "two dogs"), *predictions[1:]]
    )
    return folder


def test_a_probe_shows_and_writes_what_it_finds(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--predictions", str(scenes / "said.jsonl"), "--examples", str(scenes / "captions" / "test.jsonl")]
    assert main(["probe", "scene_truth", *arguments, "--out", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["scores"]["right"]["value"] == pytest.approx(11 / 12)
    assert found["scores"]["right"]["n"] == 12
    (case,) = found["cases"]
    assert case["caption"] == "two dogs"
    printed = capsys.readouterr().out
    assert "0.9167" in printed
    assert "two dogs" in printed


def test_a_run_folder_has_its_references(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples, run = list(open_split(scenes / "captions", "test")), tmp_path / "run"
    predictions = list(RecordFile(scenes / "said.jsonl", Prediction))
    settings = {"split": "test"}
    write_predictions(run, "test", {"settings": settings}, predictions, ())
    write_scores(run, "test", {"scores": {"n": 1}, "settings": settings}, scored(examples, ()))
    assert main(["probe", "scene_truth", "--predictions", str(run), "--out", str(tmp_path / "found.json")]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["scores"]["right"]["value"] == pytest.approx(11 / 12)
    (run / "splits/test/items.jsonl").unlink()
    assert main(["probe", "scene_truth", "--predictions", str(run)]) == 2
    assert "--examples is missing" in capsys.readouterr().err


def test_no_name_and_no_number_is_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are named by folders; four of them are wider than a terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    score = {"value": -0.00123456, "low": -0.00123456, "high": 1.23456e-05, "n": 12345}
    rows = {f"runs/a_long_name_{number}": {"first_4_words": {"accuracy": score}} for number in range(4)}
    show("grounding", Finding({"first_4_words": {"accuracy": score}}, {}, baselines=rows))
    printed = capsys.readouterr().out
    assert "\u2026" not in printed
    assert printed.count("-0.001235") == 2 + len(rows)
    assert "first_4_words" in printed
    assert all(f"me_{number}" in printed for number in range(4))


FILES = ["--predictions", "x", "--examples", "y.jsonl"]


MISTAKES = [
    (["nonsense"], "invalid choice: 'nonsense'"),
    (["scene_truth"], "--predictions"),
    (["scene_truth", *FILES[:2]], "--examples is missing, and --predictions is no run folder that has references"),
    (["scene_truth", *FILES], "y.jsonl: cannot be read"),
    (["scene_truth", *FILES, "--resamples", "0"], "--resamples must be at least 1"),
    (["scene_truth", *FILES, "--seed", "-1"], "--seed must not be negative"),
]


def test_mistakes_are_errors_of_one_line(subtests: pytest.Subtests, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, complaint in MISTAKES:
        with subtests.test(arguments=arguments, complaint=complaint):
            assert main(["probe", *arguments]) == 2
            printed = capsys.readouterr().err
            assert complaint in printed
            assert printed.count("\n") == 1

"""A run that is validated and tested: what it leaves of each split, and what reports and probes read of it."""

import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from vlrnn.cli import main
from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.records import Prediction, RecordFile, open_split, write_dataset
from vlrnn.errors import UserError
from vlrnn.files import write_json
from vlrnn.inference.predictor import Predictor
from vlrnn.runs import choose_split
from vlrnn.tasks.captioning import Captioner


def score(run: Path, command: str, checkpoint: Path, data: Path, overfit: int | None = None, **options: Any) -> None:
    """What `vlrnn validate` and `vlrnn test` do."""
    task = Predictor.load(checkpoint, "cpu").task
    trainer = pl.Trainer(accelerator="cpu", default_root_dir=run, logger=False, enable_progress_bar=False, **options)
    with warnings.catch_warnings(action="ignore"):
        getattr(trainer, command)(task, datamodule=VisionLanguageData(str(data), overfit=overfit), verbose=False)


def without_captions(data: Path, folder: Path, which: Sequence[int] = (0, 1)) -> Path:
    """The data set, the captions of some of its test pictures kept from us."""
    shutil.copytree(data / "images", folder / "images")
    splits = {split: list(open_split(data, split)) for split in ("train", "val", "test")}
    for place in which:
        splits["test"][place] = replace(splits["test"][place], captions=())
    write_dataset(folder, splits, name="a challenge", source="", licence="")
    return folder


@pytest.fixture(scope="module")
def run(checkpoints: Any, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captioner's run, validated and then tested."""
    folder = tmp_path_factory.mktemp("runs") / "squares"
    for command in ("validate", "test"):
        score(folder, command, checkpoints.file, dataset)
    return folder


@pytest.fixture(scope="module")
def secret(checkpoints: Any, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that was validated, and then tested on pictures without captions."""
    folder = tmp_path_factory.mktemp("runs") / "squares"
    score(folder, "validate", checkpoints.file, dataset)
    score(folder, "test", checkpoints.file, without_captions(dataset, folder.parent / "data"))
    return folder


def ids(run: Path, split: str) -> list[Any]:
    return [each.id for each in RecordFile(choose_split(run, split).predictions, Prediction)]


def test_each_split_keeps_its_own(run: Path, dataset: Path) -> None:
    for split in ("val", "test"):
        assert sorted(ids(run, split)) == sorted(each.id for each in open_split(dataset, split))
        metrics = json.loads((run / "splits" / split / "metrics.json").read_text())
        assert (metrics["settings"]["split"], metrics["settings"]["data"]) == (split, str(dataset))
        assert metrics["scores"]["CIDEr"]["n"] == 2
        assert metrics["provenance"]["device"] == "cpu"
        assert "not_computed" not in metrics["settings"]
    for name in ("metrics.json", "predictions.jsonl", "attention.jsonl"):
        assert (run / name).read_bytes() == (run / "splits" / "test" / name).read_bytes()


def test_captions_that_cannot_be_scored_are_written(secret: Path, dataset: Path) -> None:
    assert sorted(ids(secret, "test")) == sorted(each.id for each in open_split(dataset, "test"))
    assert choose_split(secret, "test").not_scored == "the split has no captions"
    assert json.loads((secret / "metrics.json").read_text())["settings"]["split"] == "val"
    assert choose_split(secret).split == "val"


def test_trying_out_leaves_nothing(checkpoints: Any, run: Path, dataset: Path, tmp_path: Path) -> None:
    for folder in (Path(shutil.copytree(run, tmp_path / "run")), tmp_path / "new"):
        before = {path: path.read_bytes() for path in folder.rglob("*.json*")}
        for command in ("validate", "test"):
            score(folder, command, checkpoints.file, dataset, fast_dev_run=True)
        assert {path: path.read_bytes() for path in folder.rglob("*.json*")} == before


@pytest.mark.parametrize(
    ("command", "options", "part"),
    [
        ("validate", {"limit_val_batches": 1}, "its first batches (--trainer.limit_val_batches 1)"),
        ("test", {"overfit": 4}, ""),
        ("test", {"limit_test_batches": 1}, "its first batches (--trainer.limit_test_batches 1)"),
        ("validate", {"overfit": 4}, "the first 4 of train (--overfit)"),
        ("validate", {"limit_test_batches": 1}, ""),
    ],
)
def test_scores_of_a_part_are_marked(
    checkpoints: Any,
    dataset: Path,
    tmp_path: Path,
    command: str,
    options: dict[str, Any],
    part: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And do not stand beside those of the whole."""
    run, baseline = tmp_path / "run", tmp_path / "run-blind"
    score(baseline, command, checkpoints.file, dataset)
    capsys.readouterr()
    score(run, command, checkpoints.file, dataset, **options)
    split = {"validate": "val", "test": "test"}[command]
    printed = capsys.readouterr().out
    assert (f"{split}: only a part of it is scored: {part}\n" in printed) == bool(part)
    assert ("with its baselines" in printed) != bool(part)
    assert json.loads((run / "metrics.json").read_text())["settings"].get("part", "") == part
    _, section = report(run, tmp_path)
    assert section["runs"][0]["facts"]["data"].endswith(f"; only a part: {part}" if part else " examples")


def refuse(*_: Any) -> None:
    raise UserError("no more room")


def fail(*_: Any) -> None:
    raise ZeroDivisionError("nothing to divide by")


@pytest.mark.parametrize("command", ["validate", "test"])
@pytest.mark.parametrize("how", ["one has no captions", "refused", "a fault of ours"])
def test_where_scoring_fails_the_predictions_are_written(
    checkpoints: Any, dataset: Path, tmp_path: Path, command: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, split = dataset, {"validate": "val", "test": "test"}[command]
    if how == "one has no captions":
        data = without_captions(dataset, tmp_path / "data", [1])
        (data / f"{split}.jsonl").write_bytes((data / "test.jsonl").read_bytes())
    else:
        monkeypatch.setattr(Captioner, "score", refuse if how == "refused" else fail)
    run = tmp_path / "run"
    written = f"its predictions are in {run}/splits/{split}/predictions.jsonl"
    with pytest.raises((UserError, ZeroDivisionError)) as caught:
        score(run, command, checkpoints.file, data)
    printed = [str(caught.value), *getattr(caught.value, "__notes__", ())]
    assert printed[-1].endswith(written)
    assert sorted(ids(run, split)) == sorted(each.id for each in open_split(data, split))
    assert choose_split(run, split).not_scored == "scoring was not completed"


def report(run: Path, out: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """The Markdown of a report, and its only section in JSON."""
    assert main(["report", str(run), *arguments, "--out", str(out / "page.html")]) == 0
    (section,) = json.loads((out / "page.json").read_text())["sections"]
    return (out / "page.md").read_text(), section


def test_a_report_is_of_a_split(run: Path, tmp_path: Path) -> None:
    for arguments, split, other in (((), "test", "val"), (("--split", "val"), "val", "test")):
        text, section = report(run, tmp_path, *arguments)
        assert {item["id"] for item in section["shown"]["items"]} == set(ids(run, split))
        assert section["scores"]["CIDEr"][0]["n"] == 2
        assert section["runs"][0]["facts"]["other splits"] == f"{other}: scored (--split {other})"
        assert "is not scored" not in text


def test_a_report_states_what_was_not_scored(secret: Path, tmp_path: Path) -> None:
    """It shows the scores that there are; and where it is asked for what has none, what was predicted."""
    printed = "squares: test is not scored: the split has no captions."
    text, section = report(secret, tmp_path)
    assert {item["id"] for item in section["shown"]["items"]} == set(ids(secret, "val"))
    assert section["scores"]["CIDEr"][0]["n"] == 2
    assert printed in text
    assert printed in (tmp_path / "page.html").read_text()
    text, section = report(secret, tmp_path, "--split", "test")
    assert {item["id"] for item in section["shown"]["items"]} == set(ids(secret, "test"))
    assert section["scores"] == {}
    assert printed in text


def test_a_report_of_what_was_never_scored(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "page.html")]
    assert main(["report", str(run), "--split", "train", *out]) == 2
    printed = (
        f"vlrnn report: {run}: train was not scored, only test and val; run vlrnn validate or test first, or give "
    )
    assert capsys.readouterr().err == f"{printed}another --split\n"


def test_runs_are_compared_on_a_split_that_both_have(run: Path, secret: Path, tmp_path: Path) -> None:
    """The first says which; where it has test, the one that has not stands apart."""
    assert main(["report", str(secret), str(run), "--out", str(tmp_path / "page.html")]) == 0
    (section,) = json.loads((tmp_path / "page.json").read_text())["sections"]
    assert [each["settings"]["split"] for each in section["runs"]] == ["val", "val"]
    assert main(["report", str(run), str(secret), "--out", str(tmp_path / "page.html")]) == 0
    sections = json.loads((tmp_path / "page.json").read_text())["sections"]
    assert [each["runs"][0]["settings"]["split"] for each in sections] == ["test", "val"]
    assert (
        main(["report", str(run), "--baseline", str(secret), "--split", "val", "--out", str(tmp_path / "p.html")]) == 0
    )
    (section,) = json.loads((tmp_path / "p.json").read_text())["sections"]
    assert [each["baseline"] for each in section["runs"]] == [False, True]


def probe(out: Path, *arguments: Any) -> dict[str, Any]:
    assert main(["probe", *map(str, arguments), "--out", str(out)]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_probes_are_of_a_split(run: Path, secret: Path, dataset: Path, tmp_path: Path) -> None:
    """A run folder in the place of the file of its predictions: the same is found."""
    objects = tmp_path / "objects.json"
    write_json(objects, {id: ["square"] for split in ("val", "test") for id in ids(run, split)})
    table = tmp_path / "names.txt"
    table.write_text("square\n")
    more = ["--objects", objects, "--synonyms", table]
    for folder, split, arguments in (
        (run, "test", ()),
        (run, "val", ("--split", "val")),
        (secret, "val", ()),
        (secret, "test", ("--split", "test")),
    ):
        file = choose_split(folder, split).predictions
        found = probe(tmp_path / "found.json", "chair", "--predictions", folder, *arguments, *more)
        assert found["settings"]["split"] == split
        assert found["settings"]["predictions"] == str(file)
        named = probe(tmp_path / "named.json", "chair", "--predictions", file, *more)
        assert found["scores"] == named["scores"]
        assert "split" not in named["settings"]


def test_a_split_of_a_file_is_refused(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    predictions = ["--predictions", str(run / "predictions.jsonl"), "--split", "val"]
    assert main(["probe", "scene_truth", *predictions, "--examples", "x.jsonl"]) == 2
    printed = "--split val: it needs a run folder; leave it out"
    assert capsys.readouterr().err == f"vlrnn probe: {printed}\n"


def test_a_probe_of_another_split_is_marked(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    write_json(folder / "probes" / "truth.json", {"scores": {"right": 1}, "settings": {"split": "test"}})
    _, section = report(folder, tmp_path)
    assert section["probes"][0]["notes"] == []
    _, section = report(folder, tmp_path, "--split", "val")
    assert section["probes"][0]["notes"] == ["of test, but the scores of this report are of val"]

"""The results of each split of a run: none is lost, whatever is scored, not scored, or killed, in whatever order."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlrnn.data.records import AttentionMaps, Prediction, RecordFile, ScoredExample, write_records
from vlrnn.errors import UserError
from vlrnn.files import write_json
from vlrnn.runs import (
    baselines,
    choose_split,
    is_scored,
    not_shown,
    predictions_file,
    read_splits,
    write_predictions,
    write_scores,
)


def predict(run: Path, split: str, name: str, attends: bool = False) -> None:
    """The first half of a test: predictions by a model of this name."""
    maps = [AttentionMaps(1, (1.0,), name)] if attends else []
    origin = {"settings": {"data": name}, "provenance": {"by": name}}
    written = write_predictions(run, split, origin, [Prediction(1, 1, name)], maps)
    assert written == run / "splits" / split / "predictions.jsonl"


def evaluate(run: Path, split: str, name: str, scored: bool = True, attends: bool = False) -> None:
    """A whole test of a model of this name; without scores where the split has no references."""
    predict(run, split, name, attends)
    scores = {"CIDEr": {"value": 1.0}} if scored else {}
    settings = {"data": name, "split": split} | ({} if scored else {"not_computed": "the split has no captions"})
    items = [ScoredExample(1, 1, name, scores={"CIDEr": 1.0})] if scored else ()
    write_scores(run, split, {"scores": scores, "settings": settings}, items)


def model_of(folder: Path) -> str:
    """Whose results a folder holds, by all of its files."""
    (prediction,) = RecordFile(folder / "predictions.jsonl", Prediction)
    assert json.loads((folder / "metrics.json").read_text())["settings"]["data"] == prediction.text
    if (folder / "attention.jsonl").is_file():
        (attention,) = RecordFile(folder / "attention.jsonl", AttentionMaps)
        assert attention.maps == prediction.text
    if (folder / "items.jsonl").is_file():
        assert all(each.image == prediction.text for each in RecordFile(folder / "items.jsonl", ScoredExample))
    return prediction.text


def test_no_scores_are_lost(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is tested, in whatever order: of each split its last scores can be read, those scored last lie on top,
    and what is newer and has none says so."""
    for seed in range(20):
        with subtests.test(seed=seed):
            tmp_path = tmp_path_factory.mktemp("case")
            draw = random.Random(seed)
            last: dict[str, str] = {}  # split -> the model that was scored last
            newer: dict[str, bool] = {}  # split -> whether it was predicted on since, without scores
            on_top = ""
            for step in range(8):
                split, scored, crashes = draw.choice(["val", "test"]), draw.random() < 0.6, draw.random() < 0.2
                name = f"{split}-{step}"
                if crashes:
                    predict(tmp_path, split, name, attends=draw.random() < 0.5)
                else:
                    evaluate(tmp_path, split, name, scored, attends=draw.random() < 0.5)
                newer[split] = not scored or crashes
                assert model_of(tmp_path / "splits" / split) == name
                if scored and not crashes:
                    last[split] = on_top = name
                found = read_splits(tmp_path)
                for split_name, model in last.items():
                    assert model_of(found[split_name].folder) == model
                    assert not found[split_name].not_scored
                    assert bool(found[split_name].newer) == newer[split_name]
                for unknown in found.keys() - last.keys():
                    assert found[unknown].not_scored in ("the split has no captions", "scoring was not completed")
                if on_top:
                    assert model_of(tmp_path) == on_top
                    assert choose_split(tmp_path).split == ("test" if "test" in last else "val")


def test_where_nothing_was_scored_the_predictions_are_on_top(tmp_path: Path) -> None:
    evaluate(tmp_path, "test", "a challenge", scored=False)
    assert model_of(tmp_path) == "a challenge"
    assert choose_split(tmp_path).not_scored == "the split has no captions"
    assert not is_scored(tmp_path)
    evaluate(tmp_path, "val", "val", attends=True)
    evaluate(tmp_path, "test", "another", scored=False)
    assert model_of(tmp_path) == "val"
    assert (tmp_path / "attention.jsonl").is_file()
    assert is_scored(tmp_path, "val")
    assert not is_scored(tmp_path, "test")
    assert not_shown(tmp_path, "val") == {"test": "the split has no captions"}
    assert not_shown(tmp_path, "test") == {"val": ""}


class Killed(BaseException):
    """As by SIGKILL: nobody catches it, and nothing is done behind it but what the operating system does."""


@pytest.mark.parametrize("before", ["nothing", "val", "test", "both", "older"])
def test_a_kill_loses_no_scores(tmp_path: Path, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any change that is made to files: val keeps its scores, and test has the old or the new, with theirs."""
    done = False
    for at in range(100):
        run = tmp_path / str(at)
        if before == "older":
            older_run(run, "val", "old")
        for split in ("val", "test"):
            if before in (split, "both"):
                evaluate(run, split, f"old {split}", attends=True)
        with monkeypatch.context() as patch:
            done = not kills(patch, at, lambda run=run: evaluate(run, "test", "new"))  # type: ignore[misc]
        if before in ("val", "both", "older"):
            assert model_of(choose_split(run, "val").folder).startswith("old")
        if before in ("test", "both") or done:
            results = choose_split(run, "test")
            assert not results.not_scored
            assert model_of(results.folder) in (["new"] if done else ["new", "old test"])
        evaluate(run, "test", "again")  # nothing of it is in the way of the next
        assert model_of(choose_split(run, "test").folder) == model_of(run) == "again"
        assert {path.name for path in (run / "splits").iterdir()} <= {"val", "test"}
        if done:
            return
    raise AssertionError("it never comes to its end")


def kills(patch: pytest.MonkeyPatch, at: int, work: Callable[[], None]) -> bool:
    """Do the work, and end it ahead of its change number `at` to files; whether it came so far."""
    left = at

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return change(*arguments, **more)

        return changed

    for module, name in ((os, "replace"), (os, "rename"), (shutil, "rmtree"), (Path, "rename"), (Path, "unlink")):
        patch.setattr(module, name, counted(getattr(module, name)))
    try:
        work()
    except Killed:
        return True
    return False


def older_run(run: Path, split: str, name: str) -> None:
    """A run folder of the form that has no `splits`."""
    write_json(run / "metrics.json", {"scores": {"CIDEr": 1}, "settings": {"split": split, "data": name}})
    write_records(run / "predictions.jsonl", [Prediction(1, 1, name)])
    write_records(run / "attention.jsonl", [AttentionMaps(1, (1.0,), name)])


def test_an_older_run_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    older_run(tmp_path, "val", "old")
    assert choose_split(tmp_path).folder == choose_split(tmp_path, "val").folder == tmp_path
    assert not_shown(tmp_path, "val") == {"test": "vlrnn test was not run"}
    evaluate(tmp_path, "test", "new")
    assert model_of(tmp_path) == model_of(tmp_path / "splits" / "test") == "new"
    assert model_of(choose_split(tmp_path, "val").folder) == "old"


def test_results_that_name_no_split(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {"scores": {"CIDEr": 1}, "settings": {}})
    assert choose_split(tmp_path).folder == tmp_path
    with pytest.raises(UserError, match=r"val was not scored, only a split without a name; run vlrnn validate first"):
        choose_split(tmp_path, "val")
    evaluate(tmp_path, "val", "val")
    assert choose_split(tmp_path).split == "val"


def test_the_predictions_of_a_split(tmp_path: Path) -> None:
    """Those of a folder that has nothing else are of any."""
    write_records(tmp_path / "predictions.jsonl", [Prediction(1, 1, "by hand")])
    assert predictions_file(tmp_path, "test") == tmp_path / "predictions.jsonl"
    evaluate(tmp_path, "val", "val")
    assert predictions_file(tmp_path, "val") == tmp_path / "splits" / "val" / "predictions.jsonl"
    with pytest.raises(UserError, match="test was not scored, only val"):
        predictions_file(tmp_path, "test")


def test_which_split_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a scored run: it has no metrics.json; run vlrnn test or validate first"):
        choose_split(tmp_path)
    evaluate(tmp_path, "val", "data")
    assert choose_split(tmp_path).split == "val"
    with pytest.raises(
        UserError, match=r"test was not scored, only val; run vlrnn test first, or give another --split"
    ):
        choose_split(tmp_path, "test")
    evaluate(tmp_path, "test", "data")
    assert choose_split(tmp_path).split == "test"
    assert choose_split(tmp_path, "val").split == "val"
    assert choose_split(tmp_path, others=[("data", "val")]).split == "val"
    assert choose_split(tmp_path, others=[("others", "val")]).split == "test"
    evaluate(tmp_path, "test", "data", scored=False)
    assert choose_split(tmp_path, "test").newer == "the split has no captions"


def test_broken_results_do_not_hinder_new_ones(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"metrics.json:1: not JSON"):
        choose_split(tmp_path)
    evaluate(tmp_path, "test", "new")
    assert model_of(tmp_path) == "new"


def test_baselines_are_those_of_the_same_split(tmp_path: Path) -> None:
    """Whatever else they were scored on since."""
    for name in ("run", "run-blind", "run-older", "run-val", "run-secret", "run-odd"):
        (tmp_path / name).mkdir()
    evaluate(tmp_path / "run-blind", "test", "data")
    evaluate(tmp_path / "run-blind", "val", "data")
    older_run(tmp_path / "run-older", "test", "data")
    evaluate(tmp_path / "run-val", "val", "data")
    evaluate(tmp_path / "run-secret", "test", "data", scored=False)
    (tmp_path / "run-odd" / "metrics.json").write_text("[]")
    found = baselines(tmp_path / "run", {"split": "test", "data": "data"})
    assert [path.name for path in found] == ["run-blind", "run-older"]
    found = baselines(tmp_path / "run", {"split": "val", "data": "data"})
    assert [path.name for path in found] == ["run-blind", "run-val"]

"""The dose-response study: its plan, its tests, and what it measures of runs that are there."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from one_process import in_one_process

from vlrnn.data.records import Example, Prediction, open_split, write_records
from vlrnn.data.synthetic.scenes import Scene, SceneObject
from vlrnn.errors import UserError
from vlrnn.metrics.statistics import Resampler
from vlrnn.probes.scene_truth import scene_of
from vlrnn.studies.dose_measures import DoseMeasures, measure_answers, measure_captions, objects_in_caption, tempts
from vlrnn.studies.dose_response import DoseResponsePlan, dose_response, make_tests
from vlrnn.studies.jobs import keep_plan, train_and_test


@pytest.fixture(scope="module")
def tests_of_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "test"
    make_tests(folder, DoseResponsePlan(train=1, test=40))
    return folder


def test_swapped_images_are_never_their_own(tests_of_study: Path) -> None:
    for kind in ("captions", "vqa"):
        own = list(open_split(tests_of_study / kind, "test"))
        others = list(open_split(tests_of_study / f"{kind}-strangers", "test"))
        assert [replace(other, image=each.image) for each, other in zip(own, others, strict=True)] == own
        assert not any(each.image == other.image for each, other in zip(own, others, strict=True))
        assert {each.image for each in own} == {each.image for each in others}


def test_polls_contain_absent_objects(tests_of_study: Path) -> None:
    scenes = {each.id: each for each in open_split(tests_of_study / "captions", "test")}
    polls = list(open_split(tests_of_study / "polls", "test"))
    assert {poll.question for poll in polls} == {"how many rings are there", "how many triangles are there"}
    for poll in polls:
        shapes = {thing.shape for thing in scene_of(scenes[poll.image_id]).objects}
        assert "star" in shapes
        assert poll.question_type not in shapes
        assert set(poll.answers) == {"0"}


def scene(id: str, *shapes: str) -> Example:
    things = tuple(
        SceneObject("cyan", shape, "small", 0.2 + 0.3 * place, 0.5, 0.1) for place, shape in enumerate(shapes)
    )
    return Example(id, id, f"{id}.png", attributes={"scene": Scene(things, "plain", 0).to_dict()})


def test_mentions_are_counted_by_colour_and_shape() -> None:
    described = scene_of(scene("a", "star", "ring", "cross"))
    assert objects_in_caption("a cyan star and a cyan ring and a red cross", described) == pytest.approx(2 / 3)
    assert objects_in_caption("a cyan star and a cyan star", described) == pytest.approx(2 / 5)  # there is one
    assert objects_in_caption("star cyan", described) == 0
    assert objects_in_caption("", described) == 0
    assert objects_in_caption("a small cyan ring , a cyan star and a cyan cross", described) == 1


def write_run(run: Path, texts: dict[str, str]) -> Path:
    write_records(run / "predictions.jsonl", [Prediction(id, id, text) for id, text in texts.items()])
    return run


def test_captions_are_measured_where_a_kind_tempts(tmp_path: Path) -> None:
    scenes = [scene("a", "star"), scene("b", "star", "ring"), scene("c", "circle")]
    assert [tempts(each, "ring") for each in scenes] == [True, False, False]
    texts = {"a": "a cyan star and a cyan ring right of it", "b": "a cyan ring", "c": "a cyan circle"}
    run = write_run(tmp_path / "run", texts)
    write_run(run / "strangers", dict.fromkeys("abc", "a cyan circle"))
    measured = measure_captions([run], scenes)
    assert measured["ring"].hits.tolist() == [[1, 0, 0]]
    assert measured["ring"].chances.tolist() == [1, 0, 0]
    assert measured["triangle"].hits.tolist() == [[0, 0, 0]]
    assert measured["triangle"].chances.tolist() == [1, 1, 0]
    assert measured["right"].hits.tolist() == [[0, 0, 1]]
    assert measured["objects"].hits.tolist() == [[2 / 3, 2 / 3, 1]]
    assert measured["strangers"].hits.tolist() == [[0, 0, 1]]


def test_answers_are_measured_by_scene(tests_of_study: Path, tmp_path: Path) -> None:
    scenes = list(open_split(tests_of_study / "captions", "test"))
    questions, polls = (list(open_split(tests_of_study / name, "test")) for name in ("vqa", "polls"))
    run = write_run(tmp_path / "run", {str(each.id): each.answers[0] for each in questions})
    write_run(run / "strangers", {str(each.id): "nothing" for each in questions})
    write_run(run / "polls", {str(each.id): "1" if each.question_type == "ring" else "0" for each in polls})
    measured = measure_answers([run, run], scenes, tests_of_study)
    assert measured["right"].hits.shape == (2, 40)
    assert measured["right"].hits.sum() == 2 * len(questions)
    assert measured["strangers"].hits.sum() == 0
    resampler = Resampler(40, 50)
    assert measured["ring"].share(resampler, (0, 0)).value == 1
    assert measured["triangle"].share(resampler, (0, 0)).value == 0
    assert measured["ring"].share(resampler, (0, 0)).n == 2 * sum(poll.question_type == "ring" for poll in polls)


def test_intervals_are_over_seeds_and_scenes() -> None:
    """Seeds that differ widen the interval, as do scenes that do."""
    same = np.ones((3, 200))
    resampler = Resampler(200, 500)
    assert np.ptp(DoseMeasures(same, same[0]).share(resampler, (0,)).samples) == 0
    by_seed = np.repeat([[0.0], [0.5], [1.0]], 200, 1)
    samples = DoseMeasures(by_seed, same[0]).share(resampler, (0,)).samples
    assert set(np.round(samples * 6)) == set(range(7))
    by_scene = np.tile(np.arange(200) % 2.0, (3, 1))
    share = DoseMeasures(by_scene, same[0]).share(resampler, (0,))
    assert share.value == 0.5
    assert share.samples.std() == pytest.approx(0.5 / 200**0.5, rel=0.15)
    assert share.less(share).samples.tolist() == [0.0] * 500


IMPOSSIBLE_PLANS = [
    ({"biases": (0.0,)}, "must increase from 0"),
    ({"biases": (0.5, 1.0)}, "must increase from 0"),
    ({"biases": (0.0, 1.0, 0.5)}, "must increase from 0"),
    ({"biases": (0.0, 1.5)}, "lie between 0 and 1"),
    ({"seeds": 0}, "seeds must be at least 1"),
    ({"epochs": 1.5}, "epochs must be a whole number"),
    ({"test": 0}, "test must be at least 1"),
]


def test_plans_that_cannot_be(subtests: pytest.Subtests) -> None:
    for change, complaint in IMPOSSIBLE_PLANS:
        with subtests.test(change=change, complaint=complaint), pytest.raises(UserError, match=complaint):
            DoseResponsePlan(**change)  # type: ignore[arg-type]


def test_a_folder_holds_one_plan(tmp_path: Path) -> None:
    keep_plan(tmp_path, {"seeds": 3, "train": 60})
    keep_plan(tmp_path, {"seeds": 3, "train": 60})
    with pytest.raises(UserError, match=r"holds another plan \(seeds, test\)"):
        keep_plan(tmp_path, {"seeds": 2, "train": 60, "test": 30})


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_one_process(monkeypatch)
    plan = DoseResponsePlan(biases=(0.0, 1.0), seeds=1, train=60, test=30)
    first = dose_response(tmp_path, plan)
    runs = tmp_path / "runs"
    assert {run.name for run in runs.iterdir()} == {
        f"{task}-bias-{bias}-seed-0" for task in ("captioning", "classifier_vqa") for bias in (0, 1)
    }
    metrics = runs / "captioning-bias-0-seed-0" / "metrics.json"
    stopped = runs / "classifier_vqa-bias-1-seed-0" / "polls"
    before = metrics.stat().st_mtime_ns
    shutil.rmtree(stopped)
    again = dose_response(tmp_path, plan)
    assert metrics.stat().st_mtime_ns == before
    assert (stopped / "metrics.json").exists()
    assert again.scores == first.scores
    assert again.cases == first.cases
    assert len(again.cases) <= 10
    for task in again.scores.values():
        assert task.keys() == {"bias 0", "bias 1", "rise"}
        assert task["rise"].keys() - {"objects"} == {"ring", "triangle", "excess", "right", "grounding"}
    captions = again.scores["captioning"]["bias 0"]
    assert captions["grounding"]["value"] <= captions["objects"]["value"]


def test_a_plan_is_replaced_by_moving_it_aside(tmp_path: Path) -> None:
    out = tmp_path / "study"
    keep_plan(out, {"seeds": 3})
    (out / "result").write_text("")
    with pytest.raises(UserError, match=r"--overwrite replaces it \(the old one is moved to .*study.old-1 first\)"):
        keep_plan(out, {"seeds": 2})
    keep_plan(out, {"seeds": 2}, overwrite=True)
    assert [path.name for path in out.iterdir()] == ["plan.json"]
    assert (tmp_path / "study.old-1" / "result").is_file()


def test_a_folder_of_another_kind_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds results, and no plan; .*--overwrite"):
        keep_plan(tmp_path, {"seeds": 2})


def test_a_run_by_another_recipe_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_text("")
    recipe: dict[str, Any] = {"seed_everything": 1, "data": {"root": "somewhere"}, "trainer": {}}
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "seed_everything": 2}))
    with pytest.raises(UserError, match=r"holds a trained model of another recipe; .*--overwrite"):
        train_and_test(tmp_path / "run", recipe)

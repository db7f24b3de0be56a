"""Scenes keep the promises that the captions and probes rest on, and sets of them are the same for the same seed."""

import sys
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path
from random import Random

import forked
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.data.records import RecordFile, open_split
from vlrnn.data.synthetic.captions import PHRASES, captions, read_caption
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.data.synthetic.questions import generate_questions
from vlrnn.data.synthetic.rendering import PAINTS, render
from vlrnn.data.synthetic.scenes import (
    CLEAR_CUT,
    COLOURS,
    GROUNDS,
    HELD_OUT,
    SHAPES,
    SIZES,
    Scene,
    SceneObject,
    relation,
    sample_scene,
)
from vlrnn.errors import UserError

SCENES = st.builds(lambda seed, held_out: sample_scene(Random(seed), held_out=held_out), st.integers(), st.booleans())


def many(count: int, **settings: object) -> list[Scene]:
    return [sample_scene(Random(f"{settings}{number}"), **settings) for number in range(count)]  # type: ignore[arg-type]


@given(SCENES)
def test_objects_are_apart_and_inside(scene: Scene) -> None:
    for thing in scene.objects:
        assert min(thing.x, thing.y, 1 - thing.x, 1 - thing.y) > 1.1 * thing.radius
    for a, b in combinations(scene.objects, 2):
        assert max(abs(a.x - b.x), abs(a.y - b.y)) > 1.1 * (a.radius + b.radius)
        assert a.pair != b.pair


@given(SCENES)
def test_scan_order_has_clear_cut_relations(scene: Scene) -> None:
    for a, b in pairwise(scene.objects):
        near, far = sorted((b.x - a.x, abs(b.y - a.y)))
        assert b.x > a.x
        assert far >= CLEAR_CUT * near
        assert relation(a, b) == ("left" if far == b.x - a.x else "above" if a.y < b.y else "below")


@given(SCENES)
def test_scene_survives_json(scene: Scene) -> None:
    assert Scene.from_dict(scene.to_dict()) == scene


def test_what_is_no_scene_is_refused() -> None:
    whole = {"colour": "red", "shape": "star", "size": "large", "x": 0.5, "y": 0.5, "radius": 0.1}
    odd = [{**whole, "x": "0.5"}, {**whole, "y": float("nan")}, {**whole, "colour": ["red"]}, {"colour": "red"}]
    for value in ({}, *({"objects": [each], "ground": "plain", "look": 1} for each in odd), {"objects": 3}):
        with pytest.raises(UserError, match="not a synthetic scene"):
            Scene.from_dict(value)


def test_everything_occurs() -> None:
    scenes = many(600)
    things = [thing for scene in scenes for thing in scene.objects]
    pairs = Counter(thing.pair for thing in things)
    assert set(pairs) == {(colour, shape) for colour in COLOURS for shape in SHAPES} - set(HELD_OUT)
    assert {thing.size for thing in things} == set(SIZES)
    assert {scene.ground for scene in scenes} == set(GROUNDS)
    assert Counter(len(scene.objects) for scene in scenes).keys() == {1, 2, 3, 4}
    assert {relation(*pair) for scene in scenes for pair in pairwise(scene.objects)} == {
        "left",
        "above",
        "below",
    }


def test_held_out_pairs_occur_where_wanted_only() -> None:
    assert not any(scene.held_out for scene in many(200))
    scenes = many(200, held_out=True)
    assert all(scene.held_out for scene in scenes)
    assert {thing.pair for scene in scenes for thing in scene.objects} >= set(HELD_OUT)


def test_the_opening_tells_the_order() -> None:
    """So that it is known from the first word on which object comes first."""
    printed = set()
    for scene in many(60):
        for caption in captions(scene, Random(1)):
            backwards = caption.startswith(("we see", "a picture of"))
            printed.add(backwards)
            pairs = [(mention.colour, mention.shape) for mention in read_caption(caption).mentions]
            assert pairs == [thing.pair for thing in scene.objects[:: -1 if backwards else 1]]
    assert printed == {True, False}


@pytest.mark.parametrize("size", [64, 96, 128])
def test_pictures_show_every_object_in_its_colour(size: int) -> None:
    for scene in many(40):
        picture = np.asarray(render(scene, size)).astype(int)
        assert picture.shape == (size, size, 3)
        for thing in scene.objects:
            reach = 0 if thing.shape != "ring" else 0.87 * thing.radius  # a ring has none in its middle
            colour = picture[int(thing.y * size), int((thing.x + reach) * size)]
            assert min(PAINTS, key=lambda name: np.abs(colour - PAINTS[name]).sum()) == thing.colour


def test_pictures_differ_by_shape_size_and_ground() -> None:
    def picture(shape: str = "circle", size: str = "large", ground: str = "plain") -> np.ndarray:
        thing = SceneObject("red", shape, size, 0.5, 0.5, SIZES[size])
        return np.asarray(render(Scene((thing,), ground, 1), 64)).astype(int)

    variants = [picture(shape) for shape in SHAPES] + [picture(size="small")] + [picture(ground=g) for g in GROUNDS[1:]]
    for a, b in combinations(variants, 2):
        assert (np.abs(a - b).max(-1) > 40).sum() > 20  # pixels that are plainly not the same


@given(SCENES, st.integers())
def test_captions_describe_all_and_differ(scene: Scene, seed: int) -> None:
    printed = captions(scene, Random(seed))
    assert len(set(printed)) == 5
    for caption in printed:
        assert set(caption) <= set("abcdefghijklmnopqrstuvwxyz ")
        claims = read_caption(caption)
        assert claims is not None
        kinds = [(mention.colour, mention.shape) for mention in claims.mentions]
        scan = [thing.pair for thing in scene.objects]
        assert kinds in (scan, scan[::-1])
        assert len(claims.relations) == len(scan) - 1


def test_read_caption() -> None:
    claims = read_caption("There is an orange ring, and a SMALL red star left of that, on a dotted background.")
    assert claims is not None
    assert [(m.colour, m.shape, m.size) for m in claims.mentions] == [
        ("orange", "ring", None),
        ("red", "star", "small"),
    ]
    assert (claims.relations, claims.ground) == (("left",), "dotted")
    for phrases in PHRASES.values():
        for phrase in phrases:
            assert read_caption(f"a red ring and a blue star {phrase}") is not None


NO_CAPTIONS = [
    "",
    "there is",
    "a red",
    "a circle",
    "red red circle",
    "a red circle and",
    "a red circle left of it",
    "a red circle a blue square left of it",
    "a red circle and a blue square",
    "a red circle and a blue square left of",
    "a red circle on a dotted",
    "a red circle on a dotted background and a blue square left of it",
    "and a red circle left of it",
    "a red circle <unk> a blue square left of it",
]


def test_what_is_not_of_the_grammar_is_not_read(subtests: pytest.Subtests) -> None:
    for caption in NO_CAPTIONS:
        with subtests.test(caption=caption):
            assert read_caption(caption) is None


def answer(scene: Scene, question: str) -> str | None:
    """The right answer, found by other means than the one that asked."""
    words = question.split()
    things = {thing.name: thing for thing in scene.objects}
    if question.startswith("is there"):
        return "yes" if " ".join(words[3:]) in things else "no"
    if question.startswith("how many objects"):
        return str(len(things))
    if question.startswith("how many"):
        kind = words[2].removesuffix("es") if words[2] == "crosses" else words[2].removesuffix("s")
        return str(sum(kind in name.split() for name in things))
    if question.startswith("is the"):
        a, b = things[" ".join(words[2:4])], things[" ".join(words[-2:])]
        return (
            "yes" if {"left": a.x < b.x, "right": a.x > b.x, "above": a.y < b.y, "below": a.y > b.y}[words[4]] else "no"
        )
    return None


def test_questions_have_right_answers_in_balance() -> None:
    generated = [
        (scene, question) for n, scene in enumerate(many(600)) for question in generate_questions(scene, Random(n), 8)
    ]
    kinds = Counter(question.kind for _, question in generated)
    assert kinds.keys() == {"color", "shape", "count", "exists", "relation", "side", "size", "ground"}
    assert {question.answer_type for _, question in generated} == {"yes/no", "number", "other"}
    for scene, question in generated:
        assert answer(scene, question.text) in (None, question.answer), question
    for kind in ("exists", "relation"):
        answers = Counter(question.answer for _, question in generated if question.kind == kind)
        assert 0.44 < answers["yes"] / answers.total() < 0.56
    novel = {f"is there a {' '.join(pair)}" for pair in HELD_OUT}
    assert not novel & {question.text for _, question in generated}
    assert novel <= {
        q.text for n, scene in enumerate(many(600)) for q in generate_questions(scene, Random(n), 8, novel_kinds=True)
    }


def rate(bias: float) -> float:
    shapes = [{thing.shape for thing in scene.objects} for scene in many(600, bias=bias)]
    stars = [each for each in shapes if "star" in each]
    return sum("ring" in each for each in stars) / len(stars)


def test_bias_makes_rings_come_with_stars() -> None:
    balanced = rate(0.0)
    assert 0.22 < balanced < 0.45
    assert rate(1.0) == 1
    assert abs(rate(0.5) - (1 + balanced) / 2) < 0.1


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, train=150, val=30, test=60, image_size=64, workers=1)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != ".index"
    }


def test_made_scenes_are_prepared_data_sets(small: Path) -> None:
    for split, count in (("train", 150), ("val", 30), ("test", 60)):
        printed = open_split(small / "captions", split)
        assert len(printed) == count
        for example in printed:
            assert (small / "captions" / example.image).is_file()
            assert len(example.captions) == 5
            assert example.attributes is not None
            scene = Scene.from_dict(example.attributes["scene"])
            assert example.objects == tuple(thing.name for thing in scene.objects)
            assert example.attributes["held_out"] == scene.held_out
        examples: RecordFile = open_split(small / "vqa", split)
        assert {example.image_id for example in examples} == {example.image_id for example in printed}
        assert all(len(example.answers) == 10 and len(set(example.answers)) == 1 for example in examples)
        assert {example.answer_type for example in examples} == {"yes/no", "number", "other"}
    held_out = sum(example.attributes["held_out"] for example in open_split(small / "captions", "test"))
    assert 6 <= held_out <= 25


def test_the_same_seed_gives_the_same_bytes_whoever_makes_them(small: Path, tmp_path: Path) -> None:
    make_scenes(tmp_path / "again", train=150, val=30, test=60, image_size=64, workers=2)
    assert contents(tmp_path / "again") == contents(small)
    make_scenes(tmp_path / "other", train=150, val=30, test=60, image_size=64, workers=1, seed=1)
    assert contents(tmp_path / "other") != contents(small)


def test_bias_leaves_the_other_splits_alone(small: Path, tmp_path: Path) -> None:
    make_scenes(tmp_path, train=150, val=30, test=60, image_size=64, workers=1, bias=1.0)
    biased, balanced = contents(tmp_path), contents(small)
    for name in ("captions/test.jsonl", "vqa/val.jsonl", "images/test-000001.png"):
        assert biased[name] == balanced[name]
    assert biased["captions/train.jsonl"] != balanced["captions/train.jsonl"]


OUT_OF_RANGE = [
    {"bias": 2},
    {"max_objects": 5},
    {"bias": 1, "max_objects": 1},
    {"image_size": 1},
    {"train": 0, "val": 0, "test": 0},
]


def test_values_out_of_range_are_refused(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for wrong in OUT_OF_RANGE:
        with subtests.test(wrong=wrong):
            tmp_path = tmp_path_factory.mktemp("case")
            with pytest.raises(UserError):
                make_scenes(tmp_path, **wrong)  # type: ignore[arg-type]
            assert not list(tmp_path.iterdir())


def test_script_makes_scenes_and_tells_their_rates(tmp_path: Path) -> None:
    script = Path(__file__).parent.parent / "data_prep" / "synthetic.py"

    def run(*arguments: str) -> "forked.CompletedProcess[str]":
        command = [sys.executable, str(script), "--out", "scenes", "--val", "0", "--test", "2", *arguments]
        return forked.run(command, capture_output=True, cwd=tmp_path)

    refused = run("--bias", "2")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "bias" in refused.stderr
    done = run("--train", "20", "--bias", "1", "--image_size", "48")
    assert done.returncode == 0, done.stderr
    assert "ring_where_star 1.0" in done.stdout
    assert len(open_split(tmp_path / "scenes/captions", "train")) == 20
    assert not (tmp_path / "scenes/captions/val.jsonl").exists()

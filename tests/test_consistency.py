"""Consistency: models, paraphrases, inverses and pairs, by hand and on the command line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_scripts import Script

from vlrnn.cli import main
from vlrnn.data.records import Example, Prediction, open_split, write_records
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.data.synthetic.questions import with_inverses
from vlrnn.data.synthetic.scenes import Scene, relation_holds


def question(id: str, answer: str, **attributes: str) -> Example:
    return Example(
        id,
        f"image of {id}",
        "a.png",
        question="?",
        answers=(answer,) * 10,
        question_type="q",
        attributes=attributes or None,
    )


def write(folder: Path, examples: list[Example], *texts: str) -> list[str]:
    """The references, and the predictions `said.jsonl`."""
    predictions = [Prediction(each.id, each.image_id, text) for each, text in zip(examples, texts, strict=True)]
    write_records(folder / "test.jsonl", examples)
    write_records(folder / "said.jsonl", predictions)
    return ["--references", str(folder / "test.jsonl"), "--predictions", str(folder / "said.jsonl")]


def probe(folder: Path, *arguments: str) -> dict[str, Any]:
    out = folder / "out.json"
    assert main(["probe", "consistency", *arguments, "--out", str(out), "--resamples", "50"]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def values(scores: dict[str, Any]) -> dict[str, float]:
    return {name: score["value"] for name, score in scores.items()}


def test_two_models(tmp_path: Path) -> None:
    examples = [question(each, "yes") for each in "abcd"]
    write(tmp_path, examples, "yes", "no", "no", "yes")
    (tmp_path / "said.jsonl").rename(tmp_path / "other.jsonl")
    files = write(tmp_path, examples, "yes", "yes", "no", "no")
    found = probe(tmp_path, *files, "--other", str(tmp_path / "other.jsonl"))
    assert values(found["scores"]["models"]) == {
        "agreement": 0.5,
        "both_right": 0.25,
        "one_right": 0.5,
        "both_wrong": 0.25,
        "kappa": 0,  # as often as by chance
    }
    chance = values(found["baselines"]["chance"]["models"])
    assert chance == {"agreement": 0.5, "both_wrong": 0.25, "one_right": 0.5, "both_right": 0.25, "kappa": 0}
    assert [case["id"] for case in found["cases"]] == ["d"]  # where the other is right, and this one is not


def test_chance_is_within_a_question_type(tmp_path: Path) -> None:
    """Two models that know nothing but what a type is mostly answered with agree by chance alone."""
    examples = [replace(question(each, "yes"), question_type=kind) for each, kind in zip("abcd", "xxyy", strict=True)]
    files = write(tmp_path, examples, "yes", "yes", "no", "no")
    found = probe(tmp_path, *files, "--other", str(tmp_path / "said.jsonl"))
    chance = values(found["baselines"]["chance"]["models"])
    assert chance["agreement"] == found["scores"]["models"]["agreement"]["value"] == 1
    assert chance["both_right"] == found["scores"]["models"]["both_right"]["value"] == 0.5
    assert "kappa" not in found["scores"]["models"]
    assert "so that they agree" in found["not_computed"]["models: kappa"]


def test_a_model_agrees_with_itself(tmp_path: Path) -> None:
    files = write(tmp_path, [question(each, "yes") for each in "ab"], "yes", "no")
    found = probe(tmp_path, *files, "--other", str(tmp_path / "said.jsonl"))
    assert found["scores"]["models"]["kappa"]["value"] == 1


def test_paraphrases(tmp_path: Path) -> None:
    files = write(tmp_path, [question(each, "cat") for each in "abcde"], "cat", "cat", "dog", "cat", "dog")
    (tmp_path / "groups.json").write_text('[["a", "b", "c"], ["d", "e"]]')
    found = probe(tmp_path, *files, "--groups", str(tmp_path / "groups.json"))
    scores = values(found["scores"]["paraphrases"])
    assert scores["agreement"] == pytest.approx(1 / 4)
    assert scores["consensus_1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores["consensus_2"] == pytest.approx((1 / 3 + 0) / 2)
    assert scores["consensus_3"] == 0
    assert found["baselines"]["chance"]["paraphrases"]["consensus_2"]["value"] == pytest.approx((3 / 5) ** 2)
    assert found["not_computed"] == {"paraphrases: consensus_4": "no group has as many questions"}
    assert [(case["id"], case["other"]) for case in found["cases"]] == [("a", "c"), ("d", "e")]


def test_opposites_and_sames(tmp_path: Path) -> None:
    examples = [
        question("a", "yes"),
        question("b", "no", opposite_of="a"),
        question("c", "yes", same_as="a"),
        question("d", "no", opposite_of="elsewhere"),
        question("e", "yes", opposite_of="d"),
        question("f", "yes", opposite_of="f"),
    ]
    found = probe(tmp_path, *write(tmp_path, examples, "yes", "no", "no", "yes", "yes", "yes"))
    assert values(found["scores"]["opposites"]) == {"consistent": 0.5, "both_right": 0.5}
    assert values(found["scores"]["same"]) == {"consistent": 0, "both_right": 0}
    assert found["baselines"]["chance"]["opposites"]["consistent"]["value"] == pytest.approx(2 * 3 / 4 * 1 / 4)
    assert {case["id"] for case in found["cases"]} == {"e", "c"}
    assert found["notes"] == ["2 questions have a 'opposite_of' that is not in the file: 'd', 'f'"]


def test_complementary_pairs_count_once(tmp_path: Path) -> None:
    examples = [question("a", "red", pair="b"), question("b", "blue", pair="a"), question("c", "two", pair="d")]
    examples.append(question("d", "three", pair="c"))
    found = probe(tmp_path, *write(tmp_path, examples, "red", "blue", "two", "two"))
    scores = found["scores"]["complementary_pairs"]
    assert values(scores) == {"both_wrong": 0, "one_right": 0.5, "both_right": 0.5, "same_answer": 0.5}
    assert scores["same_answer"]["n"] == 2
    chance = values(found["baselines"]["chance"]["complementary_pairs"])
    assert chance["both_right"] == pytest.approx((3 / 4) ** 2)
    assert chance["same_answer"] == pytest.approx(2 * (1 / 4) ** 2 + (1 / 2) ** 2)
    assert [(case["id"], case["other"]) for case in found["cases"]] == [("c", "d")]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, train=0, val=0, test=30, image_size=32, workers=1)
    return folder / "vqa"


def test_inverses_are_true_of_their_scenes(scenes: Path) -> None:
    """Judged by the places of the objects, not by the words."""
    scene_of = {
        each.image_id: Scene.from_dict((each.attributes or {})["scene"])
        for each in open_split(scenes.parent / "captions", "test")
    }
    made = with_inverses(open_split(scenes, "test"))
    relations = [each for each in open_split(scenes, "test") if each.question_type == "relation"]
    assert len(made) == 3 * len(relations) > 0
    for example in made:
        one, name, other = (
            (example.question or "")
            .removeprefix("is the ")
            .replace(" of the", " the")
            .replace(" the ", "|")
            .partition("|")
        )
        one, name = one.rsplit(" ", 1)
        things = {thing.name: thing for thing in scene_of[example.image_id].objects}
        assert relation_holds(things[one], name, things[other]) == (example.answers[0] == "yes"), example.question


def test_inverses_on_the_command_line(scenes: Path, script: Script, tmp_path: Path) -> None:
    assert script.run("inverses", scenes) == 0
    examples = list(open_split(script.out, "test"))
    found = probe(tmp_path, *write(tmp_path, examples, *(each.answers[0] for each in examples)))
    assert values(found["scores"]["opposites"]) == values(found["scores"]["same"]) == {"consistent": 1, "both_right": 1}
    assert not found["cases"]
    write_records(tmp_path / "none" / "test.jsonl", [question("a", "yes")])
    (tmp_path / "none" / "dataset.json").write_text("{}")
    assert script.run("inverses", tmp_path / "none") == 2
    assert "has no questions about relations" in script.error


MISTAKES = [
    ([], "no related questions"),
    (["--groups", '[["a", "z"]]'], "1 ids are not of a question: 'z'"),
    (["--groups", '[["a", true]]'], "1 ids are not of a question: True"),
    (["--groups", '[["a", ["z"]]]'], "1 ids are not of a question: ['z']"),
    (["--groups", '[["a", "a"]]'], "1 questions occur twice: 'a'"),
    (["--groups", "[]"], "holds no groups"),
    (["--groups", '[["a"]]'], "two or more in each"),
    (["--groups", '{"a": ["a", "a"]}'], "a list of lists"),
    (["--groups", "[["], "groups.json"),
]


def test_mistakes_are_reported(
    subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, complaint in MISTAKES:
        with subtests.test(more=more, complaint=complaint):
            tmp_path = tmp_path_factory.mktemp("case")
            if more:
                (tmp_path / "groups.json").write_text(more[1])
                more = [more[0], str(tmp_path / "groups.json")]
            assert main(["probe", "consistency", *write(tmp_path, [question("a", "yes")], "yes"), *more]) == 2
            printed = capsys.readouterr().err
            assert complaint in printed
            assert printed.count("\n") == 1

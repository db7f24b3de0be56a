"""The shift of priors, and head and tail, by hand and on the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.cli import main
from vlrnn.data.records import Example, Prediction, write_records
from vlrnn.probes.priors import Shift, count_answers


def questions_of(answers: str, kind: str = "what") -> list[Example]:
    """A question about an image of its own for each letter."""
    return [
        Example(f"{kind}-{n}", f"{kind}-{n}", "a.png", question="what?", answers=(each,) * 10, question_type=kind)
        for n, each in enumerate(answers)
    ]


def shift(test: list[Example], train: list[Example]) -> dict[str, Any]:
    return Shift(test, count_answers(train)).scores(50, 0)


def test_by_hand() -> None:
    found = shift(questions_of("xxxy"), questions_of("xyyz"))  # 3/4, 1/4 against 1/4, 1/2, 1/4
    assert found["total_variation"]["value"] == pytest.approx((0.5 + 0.25 + 0.25) / 2)
    p, q = np.array([0.75, 0.25, 0]), np.array([0.25, 0.5, 0.25])
    m = (p + q) / 2
    bits = sum((each[each > 0] * np.log2(each[each > 0] / m[each > 0])).sum() / 2 for each in (p, q))
    assert found["divergence"]["value"] == pytest.approx(bits)
    assert found["per_question_type"]["what"]["total_variation"]["n"] == 4


def test_the_ends() -> None:
    assert shift(questions_of("xy"), questions_of("xyxy"))["divergence"]["value"] == pytest.approx(0)
    assert shift(questions_of("xx"), questions_of("yz"))["total_variation"]["value"] == 1
    assert shift(questions_of("xx"), questions_of("yz"))["divergence"]["value"] == pytest.approx(1)
    assert shift(questions_of("x", "new"), questions_of("x"))["total_variation"]["value"] == 1  # no prior at all


def test_the_mean_is_over_questions() -> None:
    found = shift(questions_of("xxx") + questions_of("x", "who"), questions_of("x") + questions_of("y", "who"))
    assert found["total_variation"]["value"] == pytest.approx(1 / 4)


@given(st.text("xyz", min_size=1, max_size=12), st.text("xyz", min_size=1, max_size=12))
def test_it_is_a_distance_in_0_to_1(test: str, train: str) -> None:
    forward, back = shift(questions_of(test), questions_of(train)), shift(questions_of(train), questions_of(test))
    for name in ("total_variation", "divergence"):
        assert 0 <= forward[name]["value"] <= 1
        assert forward[name]["value"] == pytest.approx(back[name]["value"])
    assert forward["divergence"]["value"] <= forward["total_variation"]["value"] + 1e-9


def probe(tmp_path: Path, *arguments: Any) -> dict[str, Any]:
    out = tmp_path / "out.json"
    files = ["--train", tmp_path / "train.jsonl", "--test", tmp_path / "test.jsonl", *arguments]
    assert main(["probe", "priors", *map(str, files), "--out", str(out), "--resamples", "50"]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_head_and_tail(tmp_path: Path) -> None:
    write_records(tmp_path / "train.jsonl", questions_of("xxxxyyz"))  # the mean is 7/3: y is of the tail up to 2.8
    write_records(tmp_path / "test.jsonl", questions_of("xxyzw"))
    predictions = [Prediction(each.id, each.image_id, "x") for each in questions_of("xxyzw")]
    write_records(tmp_path / "said.jsonl", predictions)
    found = probe(tmp_path, "--predictions", tmp_path / "said.jsonl")
    value = {name: score["value"] for name, score in found["scores"]["accuracy"].items()}
    assert value == {"all": 40, "head": 100, "tail": 0}
    assert found["scores"]["accuracy"]["tail"]["n"] == 3  # y, z, and w, which train never has
    assert found["baselines"]["prior-per-type"]["accuracy"] == found["scores"]["accuracy"]
    assert [case["right"] for case in found["cases"]] == ["w", "z", "y"]  # what is rarest in train comes first
    found = probe(tmp_path, "--predictions", tmp_path / "said.jsonl", "--alpha", 5)
    assert found["scores"]["accuracy"]["tail"]["n"] == 5
    assert found["not_computed"] == {"accuracy: head": "no question of test has such an answer"}


def test_a_type_that_train_never_has(tmp_path: Path) -> None:
    """All its answers are of the tail, and the prior guesses what is most frequent of all."""
    write_records(tmp_path / "train.jsonl", questions_of("xxy"))
    write_records(tmp_path / "test.jsonl", questions_of("xy", "who"))
    write_records(
        tmp_path / "said.jsonl", [Prediction(each.id, each.image_id, "y") for each in questions_of("xy", "who")]
    )
    found = probe(tmp_path, "--predictions", tmp_path / "said.jsonl")
    assert found["scores"]["total_variation"]["value"] == 1
    assert found["scores"]["accuracy"]["tail"]["n"] == 2
    assert found["baselines"]["prior-per-type"]["accuracy"]["tail"]["value"] == 50
    assert not found["cases"]


def test_a_part_of_train_differs_less(tmp_path: Path) -> None:
    write_records(tmp_path / "train.jsonl", questions_of("xy" * 100))
    write_records(tmp_path / "test.jsonl", questions_of("x" * 40))
    found = probe(tmp_path)
    part = found["baselines"]["part of train"]["total_variation"]
    assert part["value"] < found["scores"]["total_variation"]["low"]
    assert part["n"] == 40  # as large as test, for what is smaller differs more
    assert found["not_computed"] == {"accuracy": "needs --predictions"}
    assert found["cases"] == [
        {"id": "what: x", "train": "50.0%", "test": "100.0%"},
        {"id": "what: y", "train": "50.0%", "test": "0.0%"},
    ]
    write_records(tmp_path / "test.jsonl", questions_of("xy" * 200))
    found = probe(tmp_path)
    assert found["baselines"]["part of train"]["total_variation"]["n"] == 100  # half of it at most
    assert found["cases"] == []


def test_mistakes_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, bare = questions_of("x"), [Example(1, 1, "a.png", question="what?")]
    write_records(tmp_path / "one.jsonl", one)
    write_records(tmp_path / "bare.jsonl", bare)
    for train, test, more, complaint in (
        ("one", "bare", [], "bare.jsonl: 1 of 1 questions have no answers: 1"),
        ("one", "one", [], "about one image only"),
        ("one", "one", ["--alpha", "-1"], "--alpha must be 0 or more"),
        ("absent", "one", [], "cannot be read"),
    ):
        files = ["--train", str(tmp_path / f"{train}.jsonl"), "--test", str(tmp_path / f"{test}.jsonl")]
        assert main(["probe", "priors", *files, *more]) == 2
        printed = capsys.readouterr().err
        assert complaint in printed
        assert printed.count("\n") == 1

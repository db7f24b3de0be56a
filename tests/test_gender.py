"""`vlrnn probe gender`: the published values on real captions, hand-counted ones, laws, and what cannot be computed."""

import json
from collections.abc import Mapping
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.cli import main
from vlrnn.probes.gender import measure, named_genders, tally
from vlrnn.probes.gender_words import GenderWords

WOMAN, MAN, NEITHER = "a woman reads", "a man rides", "a person and a dog"
WORDS = GenderWords.load()


class Files:
    """Files of a probe in a folder, and the probe over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value)
        (self.folder / name).write_text(text, "utf-8")
        return str(self.folder / name)

    def probe(self, captions: Mapping[Any, str], women: str, men: str, *more: str) -> int:
        predictions = [{"image_id": id, "caption": caption} for id, caption in captions.items()]
        paths = [self.write("p.json", predictions), self.write("w.txt", women), self.write("m.txt", men)]
        named = zip(
            ("--predictions", "--women", "--men", "--out"), [*paths, str(self.folder / "out.json")], strict=True
        )
        return main(["probe", "gender", *(each for pair in named for each in pair), *more])

    def found(self, captions: Mapping[Any, str], women: str, men: str, *more: str) -> dict[str, Any]:
        assert self.probe(captions, women, men, *more) == 0
        found: dict[str, Any] = json.loads((self.folder / "out.json").read_text(), parse_constant=pytest.fail)
        return found


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def values(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each["value"] if "value" in each else values(each) for name, each in scores.items()}


def test_published_values(real_data: Path, tmp_path: Path) -> None:
    data = real_data / "metrics"
    expected = json.loads((data / "expected_scores.json").read_text())["gender"]
    lists = [data / f"gender_balanced_{expected['split']}_{each}.txt" for each in ("woman", "man")]
    arguments = ["--predictions", str(data / expected["predictions"]), "--women", str(lists[0]), "--men", str(lists[1])]
    assert main(["probe", "gender", *arguments, "--out", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    scores, wanted = values(found["scores"]), expected["expected"]
    assert scores["error"] == wanted["error"]
    assert round(scores["ratio_difference"], 4) == wanted["dratio"]
    assert round(scores["divergence"], 4) == wanted["JSD_bits"]
    assert list(scores["women"].values()) == wanted["W"]
    assert list(scores["men"].values()) == wanted["M"]
    assert {name: found["scores"][name]["n"] for name in ("error", "divergence")} == {"error": 1000, "divergence": 1000}
    for side in ("women", "men"):
        assert set(found["settings"]["words"][side]) == set(expected["words"][side])


def test_a_case_by_hand(files: Files) -> None:
    """Women: two right, one wrong, one neutral; men: one right, one neutral."""
    captions = {1: WOMAN, 2: "Her dog.", 3: MAN, 4: "a man and a woman", 5: MAN, 6: NEITHER, 7: WOMAN}
    references = {
        "annotations": [{"image_id": 3, "caption": "the lady's dog, and she"}, {"image_id": 5, "caption": MAN}],
    }
    found = files.found(captions, "1\n2\n3\n4\n", "5\n6", "--references", files.write("r.json", references))
    scores = values(found["scores"])
    assert scores["women"] == {"correct": 50, "wrong": 25, "neutral": 25}
    assert scores["men"] == {"correct": 50, "wrong": 0, "neutral": 50}
    assert scores["error"] == pytest.approx(100 / 6)
    assert scores["error_where_named"] == 25
    assert scores["neutral"] == pytest.approx(100 / 3)
    assert scores["ratio_difference"] == pytest.approx(4 / 2 - 2 / 2)
    middle = (0.5, 0.125, 0.375)
    terms = [(p, m) for row in ((0.5, 0.25, 0.25), (0.5, 0, 0.5)) for p, m in zip(row, middle, strict=True) if p]
    assert scores["divergence"] == pytest.approx(sum(p * log2(p / m) for p, m in terms) / 2)
    assert found["details"] == {
        "women": {"correct": 2, "wrong": 1, "neutral": 1},
        "men": {"correct": 1, "wrong": 0, "neutral": 1},
    }
    assert found["cases"] == [{"id": 3, "shows": "a woman", "caption": MAN}]
    rows = {name: values(row) for name, row in found["baselines"].items()}
    assert (rows["references"]["error"], rows["references"]["women"]["correct"]) == (0, 100)
    assert rows["always man"]["error"] == pytest.approx(400 / 6)
    assert rows["always man"]["divergence"] == 1
    # Who says woman twice and man twice of six at random says of each a third.
    assert rows["same words"]["women"] == rows["same words"]["men"] | {"wrong": pytest.approx(100 / 3)}
    printed = " ".join(found["notes"])
    assert "1 ids unknown: 7" in printed
    assert "captions of 2 of the 6 images" in printed


MENTIONS = st.lists(st.tuples(st.sampled_from([WOMAN, MAN, NEITHER]), st.booleans()), min_size=1, max_size=30)


def measured(mentions: list[tuple[str, bool]]) -> dict[str, float]:
    women = np.array([each for _, each in mentions])
    tallies = tally(np.array([named_genders([text], WORDS) for text, _ in mentions]), women)
    return {name: float(value) for name, value in measure(tallies.sum(0)).items()}


@given(MENTIONS)
def test_laws(mentions: list[tuple[str, bool]]) -> None:
    found = measured(mentions)
    turned = {WOMAN: MAN, MAN: WOMAN, NEITHER: NEITHER}
    mirrored = measured([(turned[text], not woman) for text, woman in mentions])
    for name in ("error", "error_where_named", "neutral", "divergence"):
        assert mirrored[name] == pytest.approx(found[name], nan_ok=True)  # nothing tells women from men
    for outcome in ("correct", "wrong", "neutral"):
        assert mirrored[f"men: {outcome}"] == pytest.approx(found[f"women: {outcome}"], nan_ok=True)
    for group in ("women", "men"):
        share = sum(found[f"{group}: {outcome}"] for outcome in ("correct", "wrong", "neutral"))
        assert np.isnan(share) or share == pytest.approx(100)
    assert np.isnan(found["divergence"]) or -1e-12 < found["divergence"] < 1 + 1e-12
    right = [(WOMAN if woman else MAN, woman) for _, woman in mentions]
    assert measured(right)["error"] == 0


def test_always_neutral_is_flagged(files: Files) -> None:
    found = files.found(dict.fromkeys(range(4), NEITHER), "0\n1", "2\n3")
    assert found["scores"]["neutral"]["value"] == 100
    assert any("all 4 captions are neutral" in note for note in found["notes"])
    assert set(found["not_computed"]) == {"error_where_named", "ratio_difference"}
    assert not {"error_where_named", "ratio_difference"} & found["scores"].keys()


def test_a_gender_that_is_absent(files: Files) -> None:
    found = files.found({1: WOMAN, 2: MAN}, "1\n2\n9", "")
    assert values(found["scores"])["women"] == {"correct": 50, "wrong": 50, "neutral": 0}
    assert set(found["not_computed"]) == {"men", "divergence", "ratio_difference"}
    assert not {"men", "divergence", "ratio_difference"} & found["scores"].keys()
    printed = " ".join(found["notes"])
    assert "holds no ids: there is no image of a man" in printed
    assert "1 ids missing: 9" in printed
    assert set(files.found({1: MAN}, "", "1")["not_computed"]) == {"women", "divergence"}


def test_ids_may_be_names_or_padded_numbers(files: Files) -> None:
    found = files.found({"a#1.jpg": WOMAN, "000012": MAN, 7: MAN}, "a#1.jpg\n", "12\r\n0007\n7")
    assert values(found["scores"])["error"] == 0
    assert found["scores"]["error"]["n"] == 3
    assert any("occur more than once" in note for note in found["notes"])


def test_other_words(files: Files) -> None:
    words = ["--words_women", files.write("ww.txt", "# ours\nQueen\n\n"), "--words_men", files.write("mw.txt", "king")]
    scores = values(files.found({1: "the queen", 2: "a king-size bed", 3: "king"}, "1", "2\n3", *words)["scores"])
    assert scores["women"]["correct"] == 100
    assert scores["men"] == {"correct": 50, "wrong": 0, "neutral": 50}


MISTAKES = [
    ("1\n2", "2", (), "m.txt: 1 ids also in"),
    ("", "\n", (), "hold no ids"),
    ("8", "9", (), "none of its 2 image ids matches"),
    ("1", "2", ("--words_men", "nowhere.txt"), "nowhere.txt: cannot be read"),
    ("1", "2", ("--words_men", "empty.txt"), "empty.txt: holds no words"),
    ("1", "2", ("--words_men", "two.txt"), "two.txt:2: 'old man' is more than one word"),
    ("1", "2", ("--words_men", "her.txt"), "'her' also in"),
    ("1", "2", ("--references", "p.json"), "p.json: no references"),
]


def test_mistakes_are_errors_of_one_line(
    subtests: pytest.Subtests, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    for women, men, more, complaint in MISTAKES:
        with (
            subtests.test(women=women, men=men, more=more, complaint=complaint),
            pytest.MonkeyPatch.context() as monkeypatch,
        ):
            monkeypatch.chdir(files.folder)
            files.write("two.txt", "man\nold man\n")
            files.write("her.txt", "her")
            files.write("empty.txt", "# nothing\n")
            assert files.probe({1: WOMAN, 2: MAN}, women, men, *more) == 2
            printed = capsys.readouterr().err
            assert complaint in printed
            assert printed.count("\n") == 1

"""`vlrnn score captions`: files of every kind, ids that do not match, and mistakes told in one line."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from vlrnn import cli
from vlrnn.data.formats.captions import read_references
from vlrnn.metrics import score_captions

REFERENCES = {
    1: ["A man rides a horse.", "The man rides."],
    2: ["Two dogs play."],
    3: ["A red bus (parked)."],
}
PREDICTIONS = {1: "a man on a horse", 2: "two dogs play", 3: "a bus"}

Write = Callable[[str, Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, value: Any) -> Path:
        path = tmp_path / name
        lines = [json.dumps(each) for each in value] if name.endswith(".jsonl") else [json.dumps(value)]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    return write


def coco(references: dict[Any, list[str]]) -> dict[str, Any]:
    annotations = [{"image_id": id, "caption": text} for id, texts in references.items() for text in texts]
    return {"images": [{"id": id} for id in references], "annotations": annotations}


def karpathy() -> dict[str, Any]:
    images = [
        {
            "cocoid": id,
            "filename": f"{id}.jpg",
            "split": "test",
            "sentences": [{"raw": text} for text in texts],
        }
        for id, texts in REFERENCES.items()
    ]
    return {"images": [*images, {"cocoid": 9, "split": "train", "sentences": [{"raw": "Two dogs play."}]}]}


def results(predictions: dict[Any, str]) -> list[dict[str, Any]]:
    return [{"image_id": id, "caption": caption} for id, caption in predictions.items()]


def score(references: Path, predictions: Path, *options: str) -> int:
    return cli.main(
        [
            "score",
            "captions",
            "--references",
            str(references),
            "--predictions",
            str(predictions),
            "--no-java",
            *options,
        ]
    )


def scores_of(path: Path) -> dict[str, float]:
    return {name: score["value"] for name, score in json.loads(path.read_text())["scores"].items()}


def test_every_form_gives_the_same_scores(
    subtests: pytest.Subtests, write: Write, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prepared = [{"id": id, "image_id": id, "image": "x.jpg", "captions": texts} for id, texts in REFERENCES.items()]
    for form, predicted in product(["coco", "karpathy", "prepared"], ["results", "records"]):
        with subtests.test(form=form, predicted=predicted):
            tmp_path = tmp_path_factory.mktemp("case")
            records = [{"id": id, "image_id": id, "text": text} for id, text in PREDICTIONS.items()]
            references = {
                "coco": lambda: write("captions.json", coco(REFERENCES)),
                "karpathy": lambda: write("dataset.json", karpathy()),
                "prepared": lambda: write("val.jsonl", prepared),
            }[form]()
            predictions = (
                write("results.json", results(PREDICTIONS))
                if predicted == "results"
                else write("predictions.jsonl", records)
            )
            out = tmp_path / "out" / "scores.json"
            split = ["--split", "test"] if form == "karpathy" else []
            assert score(references, predictions, "--out", str(out), *split) == 0
            assert scores_of(out) == pytest.approx(score_captions(PREDICTIONS, REFERENCES).corpus)


def test_the_result_file_states_how_it_came_about(write: Write, tmp_path: Path) -> None:
    alternatives = [{"text": "a man", "score": -1.0}]
    records = [
        {"id": id, "image_id": id, "text": text, "alternatives": alternatives, "settings": {"num_beams": 3}}
        for id, text in PREDICTIONS.items()
    ]
    references, training = write("captions.json", coco(REFERENCES)), write("dataset.json", karpathy())
    out, single = tmp_path / "scores.json", tmp_path / "single.jsonl"
    options = [
        "--out",
        str(out),
        "--per_image",
        str(single),
        "--training",
        str(training),
        "--resamples",
        "50",
    ]
    assert score(references, write("predictions.jsonl", records), *options) == 0
    value = json.loads(out.read_text())
    assert value["scores"]["CIDEr"].keys() == {"value", "low", "high", "n"}
    settings = value["settings"]
    assert (settings["n"], settings["references"]) == (3, str(references))
    assert settings["decoding"] == {"num_beams": 3}
    assert settings["bootstrap"]["resamples"] == 50
    assert "ptb" in settings["tokenizer"]
    assert value["health"]["novel"] == pytest.approx(2 / 3)
    assert 0 <= value["health"]["mBLEU_4"] < 1
    assert value["not_computed"].keys() == {"METEOR", "SPICE"}
    lines = [json.loads(line) for line in single.read_text("utf-8").split("\n") if line]
    assert [line["image_id"] for line in lines] == [1, 2, 3]
    assert sum(line["CIDEr"] for line in lines) / 3 == pytest.approx(value["scores"]["CIDEr"]["value"])


def test_two_systems_are_compared(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    references, good = write("captions.json", coco(REFERENCES)), write("good.json", results(PREDICTIONS))
    bad, out = write("bad.json", results({3: "x", 2: "dogs y", 1: "a z"})), tmp_path / "scores.json"
    assert score(references, good, "--compare", str(bad), "--out", str(out)) == 0
    found = json.loads(out.read_text())["comparison"]
    assert found["Bleu_1"]["value"] > 0
    assert found["Bleu_1"].keys() == {"value", "low", "high", "n", "p"}
    assert "difference" in capsys.readouterr().out
    fewer = write("fewer.json", results({1: "a z", 2: "dogs y"}))
    assert score(references, good, "--compare", str(fewer), "--missing", "skip") == 0
    assert "only the 2 images for which both systems have captions are scored" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("missing", "images", "captions"),
    [("skip", (1, 2), ("a man", "two")), ("empty", (1, 2, 3), ("a man", "two", ""))],
)
def test_ids_that_do_not_match(
    write: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    missing: str,
    images: tuple,
    captions: tuple,
) -> None:
    references = write("captions.json", coco(REFERENCES))
    entries = [*results({1: "a man", 2: "two", 7: "what"}), {"image_id": 1, "caption": "again"}]
    predictions, out = write("results.json", entries), tmp_path / "scores.json"
    assert score(references, predictions) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    for message in ("1 ids missing: 3", "1 ids unknown: 7", "1 ids doubled: 1"):
        assert message in complaint
    assert score(references, predictions, "--missing", missing, "--out", str(out)) == 0
    expected = score_captions(dict(zip(images, captions, strict=True)), {id: REFERENCES[id] for id in images})
    assert scores_of(out) == pytest.approx(expected.corpus)
    assert json.loads(out.read_text())["settings"]["ids"] == {"missing": 1, "unknown": 1, "doubled": 1}


@pytest.mark.parametrize("texts_are", ["references", "predictions"])
def test_ids_as_text_and_as_numbers_are_matched_with_a_note(
    write: Write, capsys: pytest.CaptureFixture[str], texts_are: str
) -> None:
    references = {str(id): texts for id, texts in REFERENCES.items()} if texts_are == "references" else REFERENCES
    predictions = {str(id): text for id, text in PREDICTIONS.items()} if texts_are == "predictions" else PREDICTIONS
    assert score(write("captions.json", coco(references)), write("results.json", results(predictions))) == 0
    assert "3 ids matched" in " ".join(capsys.readouterr().out.split())


BAD_PREDICTIONS: list[tuple[Any, str]] = [
    ([], "holds no predictions"),
    ({"image_id": 1}, "no predictions: expected"),
    ([{"image_id": 1}], "result 0: the field 'caption' is missing"),
    ([{"image_id": 1, "caption": None}], "'caption' is a NoneType"),
    ([{"image_id": 1, "caption": ["a"]}], "'caption' is a list"),
    ([{"image_id": 1.5, "caption": "a"}], "'image_id' is a float"),
    (["a man"], "found str"),
    (results({8: "a", 9: "b"}), "none of its 2 image ids matches the references"),
    (results({1: "a"}), "2 ids missing: 2, 3"),
]


def test_bad_predictions_are_errors_of_one_line(
    subtests: pytest.Subtests, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    for value, message in BAD_PREDICTIONS:
        with subtests.test(value=value, message=message):
            assert score(write("captions.json", coco(REFERENCES)), write("results.json", value)) == 2
            complaint = capsys.readouterr().err
            assert message in complaint
            assert "results.json" in complaint
            assert complaint.count("\n") == 1


BAD_REFERENCES: list[tuple[Any, str]] = [
    ([], "no references: expected"),
    ({"images": 5}, "no references: expected"),
    ({"annotations": []}, "holds no captions"),
    ({"annotations": [{"image_id": 1, "caption": 7}]}, "annotation 0 (image 1): 'caption' is a int"),
    (karpathy(), "needs --split; it holds test (3), train (1)"),
    ({"images": [{"split": "test", "cocoid": 1}]}, "needs --split"),
]


def test_bad_references_are_errors_of_one_line(
    subtests: pytest.Subtests, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    for value, message in BAD_REFERENCES:
        with subtests.test(value=value, message=message):
            assert score(write("captions.json", value), write("results.json", results(PREDICTIONS))) == 2
            complaint = capsys.readouterr().err
            assert message in complaint
            assert complaint.count("\n") == 1


def test_files_that_are_absent_or_not_json(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    references = write("captions.json", coco(REFERENCES))
    torn = tmp_path / "torn.json"
    torn.write_text('[{"image_id": 1,')
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes('{"id": 1, "image_id": 1, "text": "Käfer"}\n'.encode("latin-1"))
    for path in (tmp_path / "absent.json", torn, latin, tmp_path):
        assert score(references, path) == 2
        complaint = capsys.readouterr().err
        assert str(path) in complaint
        assert complaint.count("\n") == 1


def test_one_image_is_refused_with_the_reason(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    references = write("captions.json", coco({1: ["a man"]}))
    assert score(references, write("results.json", results({1: "a man"}))) == 2
    assert "two images" in capsys.readouterr().err


def test_unicode_of_any_kind(write: Write, tmp_path: Path) -> None:
    odd = {1: "\x00 𝒜 \u2028 e\u0301 ﷺ 👩‍👩‍👧", 2: "\u202eabc\ufeff", 3: "\n\r\t\x85"}
    references = write("captions.json", coco({id: [text, "a man"] for id, text in odd.items()}))
    options = ["--out", str(tmp_path / "scores.json"), "--per_image", str(tmp_path / "single.jsonl")]
    assert score(references, write("results.json", results(odd)), *options) == 0


def test_karpathys_file_names_are_ids_where_coco_gave_none(write: Write) -> None:
    images = [{"filename": "a.jpg", "split": "val", "sentences": [{"raw": "A man."}]}]
    assert read_references(write("dataset.json", {"images": images}), "val") == {"a.jpg": ["A man."]}


def test_help_is_quick_and_scoring_loads_no_torch(write: Write) -> None:
    start = time.perf_counter()
    command = [sys.executable, "-m", "vlrnn", "score", "captions"]
    subprocess.run([*command, "--help"], check=True, capture_output=True)
    assert time.perf_counter() - start < 1
    paths = write("captions.json", coco(REFERENCES)), write("results.json", results(PREDICTIONS))
    options = ["--no-java", "--references", str(paths[0]), "--predictions", str(paths[1])]
    code = f"import sys; from vlrnn import cli; cli.main({['score', 'captions', *options]}); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=dict(os.environ))

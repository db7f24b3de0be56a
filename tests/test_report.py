"""`vlrnn report`: one page that needs nothing else, whatever the run folder holds."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlrnn.cli import main
from vlrnn.data.records import (
    Example,
    Id,
    Prediction,
    RecordFile,
    ScoredExample,
    open_split,
    write_dataset,
    write_records,
)
from vlrnn.files import write_json
from vlrnn.metrics.captions import CaptionScorer
from vlrnn.metrics.vqa import compare_answers
from vlrnn.report.run import load_run
from vlrnn.runs import format_score, scored

LOG = "epoch,step,train/loss,val/loss,val/CIDEr\n0,1,3.0,,\n0,2,,2.5,0.25\n1,3,2.0,,\n1,4,,1.5,0.75\n"


class Page(HTMLParser):
    """A page, read: its tags, the addresses that it names, its text, the cells of its tables, and what its scripts
    hold by their ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.facts: list[str] = []
        self.scripts: dict[str, str] = {}
        self.inside: list[str] = []
        self.feed(html)
        self.text = " ".join(self.words)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.inside.append(tag)
        for name, value in attributes:
            assert not name.startswith("on")
            if name.rpartition(":")[2] in ("src", "href", "srcset", "data", "action"):
                self.addresses.append(value or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "script":
            self.script = dict(attributes).get("id") or "code"

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "script" in self.inside:
            self.scripts[self.script] = self.scripts.get(self.script, "") + data
            return
        self.words.append(data)
        if "td" in self.inside or "th" in self.inside:
            self.rows[-1][-1] += data.strip()
        if "dd" in self.inside:
            self.facts.append(data)

    @property
    def pictures(self) -> list[Image.Image]:
        held = [address for name, address in self.scripts.items() if name.startswith("picture-")]
        return [Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) for address in held]

    @property
    def items(self) -> list[dict[str, Any]]:
        """Of all data sets, as the page's script reads them."""
        return [item for section in json.loads(self.scripts["content"]) for item in section["items"]]

    def row(self, name: str) -> list[str]:
        (found,) = [row[1:] for row in self.rows if row and row[0] == name]
        return [cell for cell in found if cell]


def make_run(folder: Path, data: Path, **more: Any) -> Path:
    """A run folder as test leaves it, scored on the two test pictures of a data set."""
    settings = {"split": "test", "data": str(data), "image_root": str(data), "num_beams": 3, **more.get("settings", {})}
    scores = {"CIDEr": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 2}, "Bleu_4": {"value": 0.125, "n": 2}}
    write_json(folder / "metrics.json", {"scores": more.get("scores", scores), "settings": settings})
    texts = more.get("texts", ["a white square", "a black circle"])
    examples = open_split(data, "test")
    predictions = [
        Prediction(each.id, each.image_id, text, settings={"num_beams": 3})
        for each, text in zip(examples, texts, strict=True)
    ]
    write_records(folder / "predictions.jsonl", predictions)
    write_items(folder, list(examples), {each.id: each.text for each in predictions})
    (folder / "log.csv").write_text(LOG)
    write_json(folder / "probes" / "truth.json", {"scores": {"right": 0.875}, "settings": {"n": 2}})
    return folder


def write_items(folder: Path, examples: Sequence[Example], texts: Mapping[Id, str]) -> None:
    """The scores of each item, as test writes them beside the predictions."""
    predicted = {each.id: each for each in examples if each.id in texts}
    if any(each.answers for each in examples):
        scores = compare_answers(texts, predicted).items()
    elif len(predicted) > 1 and all(each.captions for each in examples):
        scores = CaptionScorer({id: each.captions for id, each in predicted.items()}).score(texts).items()
    else:
        scores = iter(())
    write_records(folder / "items.jsonl", scored(list(predicted.values()), scores))


@pytest.fixture
def report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Page]:
    def run(*arguments: Any, not_found: int = 0) -> Page:
        out = tmp_path / "pages" / "report.html"
        assert main(["report", *map(str, arguments), "--out", str(out)]) == 0
        printed = capsys.readouterr()
        assert printed.out.startswith(f"open {out} (")
        assert len(printed.err.splitlines()) == not_found
        assert {path.name for path in out.parent.iterdir()} == {"report.html", "report.md", "report.json"}
        return Page(out.read_text("utf-8"))

    return run


def test_the_page_shows_the_run(report: Callable[..., Page], dataset: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", dataset)
    metrics = json.loads((folder / "metrics.json").read_text())
    write_json(folder / "metrics.json", metrics | {"provenance": {"commit": "abc123", "torch": "9.9", "device": "cpu"}})
    recipe = "seed_everything: 7\nmodel:\n  class_path: vlrnn.tasks.Captioner\n  init_args:\n"
    recipe += "    decoder:\n      class_path: vlrnn.nn.ShowAndTell\n      init_args: {embedding: 64}\n"
    (folder / "config.yaml").write_text(recipe)
    page = report(folder)
    assert page.row("CIDEr") == ["0.500 [0.250, 0.750]"]
    assert page.row("Bleu_4") == ["0.125"]
    assert page.row("right") == ["0.875"]
    for fact in ("7", "Captioner", "ShowAndTell(embedding=64)", "num_beams 3", "commit abc123, torch 9.9", "cpu"):
        assert fact in page.facts
    (output,) = page.items[0]["outputs"]
    assert {item["outputs"][0]["text"] for item in page.items} == {"a white square", "a black circle"}
    assert output["score"] is not None
    written = {caption for item in page.items for caption in item["references"]}
    assert written == {caption for example in open_split(dataset, "test") for caption in example.captions}
    assert [picture.size for picture in page.pictures] == [(32, 32), (32, 32)]
    assert page.tags.count("svg") == 1  # the curves


def test_the_page_needs_nothing_else(report: Callable[..., Page], dataset: Path, tmp_path: Path) -> None:
    page = report(make_run(tmp_path / "one", dataset), make_run(tmp_path / "two", dataset))
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not {"iframe", "object", "embed", "base"} & set(page.tags)
    without_names = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", page.html)
    assert not re.search(r"https?:|file:|@import|url\((?!#)", without_names)


ATTACK = "<script>alert('\"')</script><!--<img/src=x/onerror=alert(1)>"


def attacked(tmp_path: Path) -> Path:
    """A run in which everything that can be a text is an attack."""
    data = tmp_path / "data"
    examples = [
        Example(f"{ATTACK}{index}", index, f"{index}.png", (f"reference {ATTACK}",), objects=(ATTACK,))
        for index in range(2)
    ]
    write_dataset(data, {"test": examples}, name=ATTACK, source="made by the tests", licence="CC0")
    Image.new("RGB", (8, 8)).save(data / "0.png")
    folder = make_run(
        tmp_path / "a<b>&'c'",
        data,
        texts=[f"said {ATTACK}", f"unseen {ATTACK}"],
        scores={ATTACK: 1.0},
        settings={ATTACK: {ATTACK: [ATTACK]}},
    )
    case = {"id": f"{ATTACK}0", ATTACK: [ATTACK]}
    finding = {"scores": {ATTACK: 1}, "settings": {}, "cases": [case], "notes": [ATTACK]}
    write_json(folder / "probes" / "<script>.json", {**finding, "details": {"objects": {ATTACK: {"mentions": 3}}}})
    return folder


def test_whatever_was_generated_is_text(report: Callable[..., Page], tmp_path: Path) -> None:
    page = report(attacked(tmp_path), not_found=1)
    assert page.tags.count("script") == 3  # the items, one picture, as the second is not there, and the code
    assert len(page.pictures) == 1
    assert page.tags.count("img") == 1  # of the case
    for text in (ATTACK, f"{ATTACK}0", "a<b>&'c'", "<script>"):
        assert text in page.text
    texts = [f"said {ATTACK}", f"unseen {ATTACK}"]
    assert sorted(item["outputs"][0]["text"] for item in page.items) == texts
    written = (tmp_path / "pages" / "report.md").read_text()
    assert "<script" not in written
    assert "<img" not in written


def test_the_same_is_reported_in_markdown_and_json(report: Callable[..., Page], dataset: Path, tmp_path: Path) -> None:
    page = report(make_run(tmp_path / "a|b", dataset, texts=["a [white](x) | square", "a black circle"]))
    folder = tmp_path / "pages"
    written = (folder / "report.md").read_text()
    assert "| CIDEr | 0.500 [0.250, 0.750] |" in written
    assert r"a \[white\](x) \| square" in written
    assert r"a\|b" in written
    assert "| val/CIDEr | 0.250 at 2, 0.750 at 4 |" in written
    found = json.loads((folder / "report.json").read_text())
    (section,) = found["sections"]
    assert section["shown"]["items"] == page.items
    assert section["scores"]["Bleu_4"] == [{"value": 0.125, "n": 2}]
    (probe,) = section["probes"]
    assert (probe["name"], probe["rows"][0]["score"]) == ("truth", 0.875)


def test_hypotheses_are_reported_in_markdown(report: Callable[..., Page], dataset: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", dataset)
    predictions = [
        replace(each, tokens=("a",), log_probs=(-0.5, -0.25), alternatives=({"text": "", "score": -2}, {"text": "b|"}))
        for each in RecordFile(folder / "predictions.jsonl", Prediction)
    ]
    write_records(folder / "predictions.jsonl", predictions)
    report(folder, make_run(tmp_path / "other", dataset, texts=["", "x"]))
    written = (tmp_path / "pages" / "report.md").read_text()
    assert written.count(", log probability -0.750\n    - or: **(empty)** (-2.000)\n    - or: **b\\|**\n") == 6
    assert "other: **(empty)**" in written


def test_a_run_folder_is_complete_without_the_data(
    report: Callable[..., Page], make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    """With the data set moved away the report is the same but for the pictures, which it names as not found."""
    data = make_dataset(tmp_path / "data")
    folders = [make_run(tmp_path / "run", data), make_run(tmp_path / "other", data, texts=["a dog", "a cat"])]
    (first, *_) = open_split(data, "test")
    (data / first.image).write_bytes(b"no image any more")
    assert len(report(*folders).pictures) == 1
    written = json.loads((tmp_path / "pages" / "report.json").read_text())
    shutil.rmtree(data)
    page = report(*folders, not_found=1)
    assert page.pictures == []
    line = f"2 of 2 pictures were not found, the first is {data / first.image}"
    assert line in page.text
    without = json.loads((tmp_path / "pages" / "report.json").read_text())
    assert (written.pop("not_found"), without.pop("not_found")) == ([], [line])
    assert written | {"date": ""} == without | {"date": ""}


def test_a_run_of_an_older_version_has_its_predictions(
    report: Callable[..., Page], dataset: Path, tmp_path: Path
) -> None:
    """Without items.jsonl, whose absence is named; what other runs have is shown."""
    older, run = make_run(tmp_path / "older", dataset), make_run(tmp_path / "run", dataset)
    (older / "items.jsonl").unlink()
    page = report(older, not_found=1)
    assert f"{older}: has no items.jsonl" in page.text
    assert [item["outputs"][0]["text"] for item in page.items] == ["a white square", "a black circle"]
    scores = [[each["score"] for each in item["outputs"]] for item in report(run, older, not_found=1).items]
    assert [other for _, other in scores] == [None, None]
    assert all(own is not None for own, _ in scores)


def test_a_report_lies_in_its_run_by_default(dataset: Path, tmp_path: Path) -> None:
    assert main(["report", str(make_run(tmp_path / "run", dataset))]) == 0
    assert (tmp_path / "run" / "report.html").is_file()


def test_items_are_references(dataset: Path, tmp_path: Path) -> None:
    """`vlrnn score` reads them in place of the data set, and comes to the scores that they have."""
    run, out = make_run(tmp_path / "run", dataset), tmp_path / "scores.json"
    files = ("--references", run / "items.jsonl", "--predictions", run / "predictions.jsonl", "--out", out, "--no-java")
    assert main(["score", "captions", *map(str, files)]) == 0
    own = [each.scores["CIDEr"] for each in RecordFile(run / "items.jsonl", ScoredExample)]
    assert json.loads(out.read_text())["scores"]["CIDEr"]["value"] == pytest.approx(sum(own) / len(own))


def test_sections_without_data_are_absent(report: Callable[..., Page], tmp_path: Path) -> None:
    write_json(tmp_path / "run" / "metrics.json", {"scores": {"CIDEr": 0.5}, "settings": {}})
    page = report(tmp_path / "run")
    assert page.row("CIDEr") == ["0.500"]
    assert not {"figure", "svg", "img"} & set(page.tags)
    for title in ("Training", "Probes", "Paired", "The best", "Look for failures", "by properties"):
        assert title not in page.text


def test_several_runs_stand_side_by_side(report: Callable[..., Page], dataset: Path, tmp_path: Path) -> None:
    first = make_run(tmp_path / "first", dataset)
    second = make_run(tmp_path / "second", dataset, scores={"CIDEr": 0.25, "SPICE": 0.1}, texts=["a dog", "a cat"])
    page = report(first, second)
    assert ["score", "first", "second", ""] in page.rows
    assert page.row("CIDEr") == ["0.500 [0.250, 0.750]", "0.250"]
    assert page.row("Bleu_4") == ["0.125", "-"]
    assert page.row("SPICE") == ["-", "0.100"]
    assert len(page.row("second")) == 6  # differences
    assert len(page.pictures) == 2
    assert {tuple(output["text"] for output in item["outputs"]) for item in page.items} == {
        ("a white square", "a dog"),
        ("a black circle", "a cat"),
    }


def test_runs_on_other_data_have_a_section_of_their_own(
    report: Callable[..., Page], make_dataset: Callable[..., Path], dataset: Path, tmp_path: Path
) -> None:
    other = make_dataset(tmp_path / "other")
    page = report(*(make_run(tmp_path / name, data) for name, data in (("one", dataset), ("two", other))))
    assert page.tags.count("section") == 2
    assert "Paired" not in page.text


def test_baselines_are_shown(report: Callable[..., Page], dataset: Path, tmp_path: Path) -> None:
    """Those of the run's name are found, of the same examples; others are given."""
    run, blind, given = (make_run(tmp_path / name, dataset) for name in ("run", "run-blind", "somebody"))
    make_run(tmp_path / "run-val", dataset, settings={"split": "val"})
    assert ["score", "run", "run-blind", ""] in report(run).rows
    page = report(run, "--baseline", given)
    assert ["score", "run", "somebody", "run-blind", ""] in page.rows
    assert page.text.count("baseline") == 2
    assert ["score", "run", "run-blind", ""] in report(run, "--baseline", blind).rows


def test_runs_of_the_same_name_are_distinguished(report: Callable[..., Page], dataset: Path, tmp_path: Path) -> None:
    folders = [make_run(tmp_path / cell / "captioning", dataset) for cell in ("gru", "lstm")]
    assert ["score", *map(str, folders), ""] in report(*folders).rows


def test_many_runs_get_parallel_coordinates(report: Callable[..., Page], dataset: Path, tmp_path: Path) -> None:
    folders = [make_run(tmp_path / str(width), dataset, scores={"CIDEr": width / 100}) for width in range(10, 16)]
    for folder in folders:
        recipe = {"model": {"class_path": "x.Y", "init_args": {"width": int(folder.name), "same": 1, "name": "$a$"}}}
        write_json(folder / "config.yaml", recipe)
    assert "settings that differ" not in report(*folders[:5]).text
    page = report(*folders)
    assert "settings that differ" in page.text
    drawing = page.html[page.html.index("settings that differ") :].partition("</svg>")[0]
    for message in ("width", "CIDEr", "0.13", ">13<"):
        assert message in drawing
    assert "same" not in drawing


@pytest.mark.filterwarnings("error")
def test_pictures_name_every_run(report: Callable[..., Page], dataset: Path, tmp_path: Path) -> None:
    """Whatever it is called, and without a word of what matplotlib's font lacks."""
    names = ["_run", "运行", "$a$ and $b$", f"{40 * 'long'}-1", f"{40 * 'long'}-2"]
    page = report(*(make_run(tmp_path / name, dataset) for name in names))
    drawing = page.html[page.html.index("Training</h3>") :].partition("</svg>")[0]
    for message in ("> _run<", ">运行<", ">$a$ and $b$<", "long-1<", "long-2<"):
        assert message in drawing
    assert 20 * "long" not in drawing


@pytest.mark.parametrize(
    ("steps", "drawn"), [("0,1,3.0,\n0,2,1.0,\n", [(1, 3.0), (2, 1.0)]), ("", [(2, 2.0), (4, 1.5)])]
)
def test_losses_of_steps_and_of_epochs_are_no_one_curve(
    steps: str, drawn: list[tuple[int, float]], dataset: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", dataset)
    (run / "log.csv").write_text(f"epoch,step,train/loss,train/seconds\n{steps}0,2,2.0,9\n1,4,1.5,9\n")
    assert load_run(run).log["train/loss"] == drawn


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (1, 1), (99, 2)])
def test_as_many_captions_as_requested(
    report: Callable[..., Page], dataset: Path, tmp_path: Path, count: int, shown: int
) -> None:
    assert len(report(make_run(tmp_path / "run", dataset), "--examples", count).items) == shown


def test_pictures_are_of_the_size_requested(report: Callable[..., Page], dataset: Path, tmp_path: Path) -> None:
    page = report(make_run(tmp_path / "run", dataset), "--thumbnail", 16)
    assert [picture.size for picture in page.pictures] == [(16, 16), (16, 16)]


MISTAKES: dict[str, tuple[str, str, str]] = {
    "no scores": ("metrics.json", "", "metrics.json"),
    "scores that are no JSON": ("metrics.json", '{\n"scores": nothing}', "metrics.json:2"),
    "a list of scores": ("metrics.json", "[]", "expected"),
    "a quickstart's scores": ("metrics.json", '{"captioning": {"scores": {}}}', "expected"),
    "a prediction that is none": ("predictions.jsonl", '{"id": 1}\n', "predictions.jsonl:1"),
    "a probe that is a list": ("probes/truth.json", "[1]", "truth.json"),
    "a probe without scores": ("probes/truth.json", '{"scores": null, "settings": {}}', "truth.json"),
    "data that is no folder": ("metrics.json", '{"scores": {}, "settings": {"data": 5}}', "'data' must be a text"),
    "a probe without cases": ("probes/truth.json", '{"scores": {}, "settings": {}, "cases": [1]}', "'cases'"),
    "a probe of text": ("probes/truth.json", '{"scores": {}, "settings": {}, "notes": "x"}', "'notes' must be a list"),
    "scores of an item that are none": ("items.jsonl", '{"id": 1, "scores": {"CIDEr": "x"}}', "items.jsonl:1"),
    "a recipe that is none": ("config.yaml", "model: [1,\n  2: {", "config.yaml:3: not YAML"),
    "maps that are none": ("attention.jsonl", '{"id": 1, "peaks": "x"}', "attention.jsonl:1"),
    "a log of words": ("log.csv", "step,val/loss\n1,2.0\n2,much\n", "log.csv:3"),
    "a log without steps": ("log.csv", "epoch,val/loss\n1,2.0\n", "log.csv:2"),
    "a log with too many values": ("log.csv", "step,val/loss\n1,2.0,3.0\n", "log.csv:2"),
}


def test_a_broken_run_is_an_error_of_one_line(
    subtests: pytest.Subtests,
    dataset: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for mistake in MISTAKES:
        with subtests.test(mistake=mistake):
            tmp_path = tmp_path_factory.mktemp("case")
            name, content, word = MISTAKES[mistake]
            folder = make_run(tmp_path / "run", dataset)
            (folder / name).write_text(content)
            refused([str(folder)], tmp_path, capsys, word)


def test_what_is_no_run_is_an_error_of_one_line(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(make_run(tmp_path / "run", dataset))
    refused([str(tmp_path / "absent")], tmp_path, capsys, "not a scored run")
    refused([str(dataset)], tmp_path, capsys, "not a scored run")
    refused([folder, str(tmp_path)], tmp_path, capsys, "not a scored run")
    refused([folder, "--examples", "-1"], tmp_path, capsys, "examples")
    refused([folder, "--thumbnail", "2"], tmp_path, capsys, "--thumbnail")
    refused([folder, "--baseline", str(tmp_path)], tmp_path, capsys, "not a scored run")
    (tmp_path / "report.html").mkdir()
    refused([folder], tmp_path, capsys, "report.html")


def refused(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert main(["report", *arguments, "--out", str(folder / "report.html")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("vlrnn report: ")
    assert word in printed.err
    assert not (folder / "report.html").is_file()


SCORES = [
    (0.5, "0.500"),
    (3, "3.000"),
    (-12345.6, "-12,346"),
    ({"value": 12345, "low": 12345, "high": 12345}, "12,345"),
    ({"value": 12, "low": 12, "high": 12}, "12"),
    ({"value": 0.5, "n": 3}, "0.500"),
    ({"value": -1, "low": -2.0, "high": 1e-9, "n": 3}, "-1.000 [-2.000, 0.000]"),
    ({"value": None}, "-"),
    ({"value": float("nan"), "low": 0.1, "high": 0.2}, "-"),
    ({"colour": 0.5}, "-"),
    ("good", "-"),
    (None, "-"),
]


def test_scores_for_people(subtests: pytest.Subtests) -> None:
    for score, shown in SCORES:
        with subtests.test(score=score, shown=shown):
            assert format_score(score) == shown


def test_reporting_loads_no_torch(dataset: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", dataset)
    arguments = ["report", str(folder), "--out", str(tmp_path / "report.html")]
    program = f"import json, sys\nfrom vlrnn.cli import main\ncode = main({arguments})\n"
    program += "print(json.dumps([code, sorted({'torch', 'torchvision', 'matplotlib.pyplot'} & set(sys.modules))]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []], done.stderr

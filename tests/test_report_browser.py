"""The report in a real browser, with the network cut: what it draws, what it filters, and that it runs nothing of what
the data say."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_report import ATTACK, attacked, make_run, write_items

from vlrnn.cli import main
from vlrnn.data.records import AttentionMaps, Example, Prediction, RecordFile, open_split, write_dataset, write_records
from vlrnn.files import write_json

LOADED = "[...document.querySelectorAll('.browser img')].every((each) => each.naturalWidth > 0)"


class Opened:
    """A page that is open, and what it complained of, asked for and popped up."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.troubles: list[str] = []
        page.on("console", lambda message: self.troubles.append(message.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("dialog", lambda dialog: (self.troubles.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: self.troubles.append(request.url) if self.outside(request.url, path) else 0)
        page.goto(path.as_uri())

    @staticmethod
    def outside(address: str, path: Path) -> bool:
        return not address.startswith("data:") and address != path.as_uri()


@pytest.fixture
def show(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    contexts = []

    def show(*runs: Path, width: int = 1280, scheme: str = "light") -> Opened:
        out = tmp_path / "report.html"
        assert main(["report", *map(str, runs), "--out", str(out)]) == 0
        contexts.append(
            chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        )
        return Opened(contexts[-1].new_page(), out)

    yield show
    for context in contexts:
        context.close()


@pytest.fixture
def run(dataset: Path, tmp_path: Path) -> Path:
    """Of which the first word of the first caption was said with an eye on the last region."""
    folder = make_run(tmp_path / "run", dataset, texts=["white square", "black circle"])
    predictions = [
        Prediction(each.id, each.image_id, each.text, tuple(each.text.split()), (-0.1, -0.7, -0.01))
        for each in RecordFile(folder / "predictions.jsonl", Prediction)
    ]
    write_records(folder / "predictions.jsonl", predictions)
    maps = base64.b64encode(bytes([0, 0, 0, 255] + 8 * [255])).decode()
    write_records(
        folder / "attention.jsonl", [AttentionMaps(predictions[0].id, (0.9, 0.25, 0.25), maps, (0.5, 0.25, 0.125))]
    )
    return folder


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_opens_without_a_complaint(
    show: Callable[..., Opened], run: Path, dataset: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    opened = show(run, make_run(tmp_path / "other", dataset), width=width, scheme=scheme)
    page = opened.page
    page.locator(".browser figure").last.scroll_into_view_if_needed()
    page.wait_for_function(LOADED)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.troubles == []


def test_it_prints_dark_on_light_with_its_bars(
    show: Callable[..., Opened], run: Path, dataset: Path, tmp_path: Path
) -> None:
    """Whatever the screen has; and bars are backgrounds, which printers leave out unless they are told not to."""
    page = show(run, make_run(tmp_path / "other", dataset), scheme="dark").page
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="print", color_scheme="dark")
    style = page.evaluate(
        "(({backgroundColor, printColorAdjust}) => [backgroundColor, printColorAdjust])"
        "(getComputedStyle(document.body))"
    )
    assert style == ["rgb(255, 255, 255)", "exact"] != dark
    sizes = "['.output', '.other'].map((each) => parseFloat(getComputedStyle(document.querySelector(each)).fontSize))"
    larger, other = page.evaluate(sizes)
    assert larger > other


def test_pictures_that_are_not_decoded_yet_have_their_place(show: Callable[..., Opened], run: Path) -> None:
    """Else what is tapped moves away as those above it come."""
    page = show(run).page
    page.evaluate("const image = document.querySelector('.browser img'); image.removeAttribute('src')")
    box = page.locator(".browser img").first.bounding_box()
    assert box is not None
    assert box["width"] == pytest.approx(box["height"], abs=1)


def test_a_word_shows_its_attention(show: Callable[..., Opened], run: Path) -> None:
    page = show(run).page
    card = page.locator(".browser figure", has_text="white").first
    card.scroll_into_view_if_needed()
    page.wait_for_function(LOADED)
    overlay = card.locator("canvas")
    assert overlay.is_hidden()
    card.get_by_role("button", name="white").hover()
    assert overlay.is_visible()
    shades = "(each) => [...each.getContext('2d').getImageData(0, 0, 2, 2).data].filter((_, place) => place % 4 == 3)"
    assert overlay.evaluate(shades) == [209, 209, 209, 0]
    printed = card.locator(".status").inner_text()
    assert "log probability -0.81" in card.inner_text()
    for part in ("probability 90 %", "log -0.10", "region 90 %", "gate 0.50"):
        assert part in printed
    card.get_by_role("button", name="square").click()
    assert overlay.evaluate(shades) == [0, 0, 0, 0]
    page.mouse.move(0, 0)
    assert overlay.is_hidden()
    frame, picture = overlay.bounding_box(), card.locator("img").bounding_box()
    assert frame == picture or frame is None


def test_failures_are_found(show: Callable[..., Opened], run: Path, dataset: Path) -> None:
    page = show(run).page
    browser = page.locator(".browser")
    figures = browser.locator("figure")
    assert figures.count() == 2
    browser.get_by_label("text").fill("BLACK circle")
    assert figures.count() == 1
    assert "black circle" in figures.inner_text().replace("\n", " ")
    browser.get_by_label("text").fill("")
    browser.get_by_label("CIDEr from").fill("9.9")
    assert figures.count() == 0
    browser.get_by_label("CIDEr from").fill("")
    first = figures.first.inner_text()
    browser.get_by_label("order").select_option("best")
    assert figures.last.inner_text() == first
    assert len(list(open_split(dataset, "test"))) == 2


def test_long_names_do_not_reach_beyond_a_phone(show: Callable[..., Opened], tmp_path: Path) -> None:
    data, long = tmp_path / "data", 20 * "longer"
    questions = [
        Example(each, 1, "1.png", question="?", answers=("a",), question_type=long + each) for each in 12 * "ab"
    ]
    questions = [replace(each, id=f"{place}{long}") for place, each in enumerate(questions)]
    write_dataset(data, {"test": questions}, name=long, source="made by the tests", licence="CC0")
    folder = tmp_path / "run"
    write_json(
        folder / "metrics.json", {"scores": {"overall": 1}, "settings": {"data": str(data), "split": "test", long: 1}}
    )
    write_records(folder / "predictions.jsonl", [Prediction(each.id, 1, long) for each in questions])
    write_items(folder, questions, {each.id: long for each in questions})
    page = show(folder, width=390).page
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.locator(".browser select").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_script_in_the_data_is_text(show: Callable[..., Opened], tmp_path: Path) -> None:
    opened = show(attacked(tmp_path))
    page = opened.page
    for text in (f"said {ATTACK}", f"reference {ATTACK}", f"hallucinated: {ATTACK}"):
        assert page.get_by_text(text).count() or text.startswith("hallucinated")
    page.get_by_label("text").fill(ATTACK.lower())
    assert page.locator(".browser figure").count() == 2
    assert opened.troubles == []

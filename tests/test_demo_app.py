"""The demo page: driven in a real browser, and from a script."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from demo_server import command_line, free_port, served
from quick import quick

from vlrnn.cli import main
from vlrnn.data.records import open_split
from vlrnn.demo.models import load
from vlrnn.errors import UserError
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.nn.fusion import ProductFusion
from vlrnn.nn.question_encoder import RecurrentQuestionEncoder
from vlrnn.nn.question_image import MeanPool
from vlrnn.nn.recurrent.rnn import GRU
from vlrnn.tasks.classifier_vqa import ClassifierVQA
from vlrnn.text.vocabulary import AnswerVocabulary, Vocabulary
from vlrnn.training.checkpoint import save_pretrained

pytest.importorskip("gradio", reason="needs gradio, of the extra demo")


@pytest.fixture(scope="module")
def head(classifier_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier head that has learnt nothing."""
    folder = tmp_path_factory.mktemp("head") / "model"
    torch.manual_seed(0)
    vocabulary = Vocabulary.count([["is", "there", "a", "square", "what"]] * 3)
    parts = RecurrentQuestionEncoder(GRU(8), embedding_dim=8), MeanPool(), ProductFusion(8)
    task = ClassifierVQA(
        vocabulary,
        AnswerVocabulary(["yes", "no", "red"]),
        TorchvisionEncoder("mobilenet_v3_small", str(classifier_file)),
        *parts,
    )
    save_pretrained(task, folder)
    return folder


@pytest.fixture(scope="module")
def address(checkpoints: Any, head: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    table = tmp_path_factory.mktemp("table") / "objects.txt"
    table.write_text("square\ncircle\n")
    given = ["--captioner", str(checkpoints.file), "--classifier", str(head), "--objects", str(table)]
    with served(models=load(command_line(given))) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
def picture(dataset: Path) -> Path:
    (example, *_) = open_split(dataset, "test")
    return dataset / example.image


@pytest.fixture(params=[1280])
def page(chromium: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The open page, which may ask nobody but this machine."""
    context = chromium.new_context(viewport={"width": request.param, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)  # a machine that does other work too is slow
    strangers: list[str] = []
    page.on("request", lambda each: None if ours(each.url, address) else strangers.append(each.url))
    page.goto(address)
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") <= request.param
    assert strangers == []
    context.close()


def ours(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def cell(page: Any, text: str) -> Any:
    return page.locator(".cell-wrap:visible", has_text=text).first


def is_visible(page: Any, header: str) -> bool:
    """Whether the column of a table stands within the page, not behind the table's edge."""
    box = page.locator("th:visible", has_text=header).first.bounding_box()
    return bool(box["x"] + box["width"] <= page.viewport_size["width"])


def uploaded(page: Any) -> Any:
    """The button that takes a picture away again."""
    return page.get_by_label("Remove Image").or_(page.get_by_role("button", name="Clear")).first


@pytest.mark.parametrize("page", quick([1280, 390], 1280), ids=["desk", "phone"], indirect=True)
def test_a_picture_is_captioned_and_questioned(page: Any, picture: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(picture)
    uploaded(page).wait_for()
    press(page, "caption")
    page.wait_for_function("document.querySelector('.caption textarea').value.length > 0")
    caption = page.locator(".caption textarea").input_value()
    words = page.locator("input[type=radio]")
    words.first.wait_for()
    assert words.count() == len(caption.split())
    words.last.check()
    page.wait_for_function("[...document.querySelectorAll('input, textarea')].some((e) => /probability/.test(e.value))")
    press(page, "which objects may be hallucinated?")
    cell(page, "square").wait_for()
    assert is_visible(page, "log probability / length^penalty")
    assert is_visible(page, "reading")
    question = page.get_by_label("question", exact=True)
    question.fill("is there a square?")
    press(page, "ask")
    cell(page, "is there a square?").wait_for()
    question.fill("what?")
    question.press("Enter")
    cell(page, "what?").wait_for()
    assert cell(page, "is there a square?").is_visible()  # what was asked before stays


@pytest.mark.parametrize("after", ["nothing", "an example"])
def test_a_bad_file_is_reported_and_the_page_lives_on(page: Any, picture: Path, tmp_path: Path, after: str) -> None:
    if after == "an example":
        page.locator("button:has(img)").first.click()
        uploaded(page).click()
        uploaded(page).wait_for(state="hidden")
    bad = tmp_path / "<b>bad.png"
    bad.write_text("no image")
    upload = page.locator("input[type=file]").first
    upload.set_input_files(bad)
    uploaded(page).wait_for()
    press(page, "caption")
    page.get_by_text("not an image of a known format").first.wait_for()
    page.locator(".toast-close").first.click()  # else it covers the button until it goes by itself
    uploaded(page).click()
    press(page, "caption")
    page.get_by_text("there is no picture").first.wait_for()
    page.locator("input[type=file]").first.set_input_files(picture)
    uploaded(page).wait_for()
    press(page, "caption")
    page.wait_for_function("document.querySelector('.caption textarea').value.length > 0")


def test_an_example_is_taken(page: Any) -> None:
    examples = page.locator("button:has(img)")
    examples.nth(5).wait_for()
    examples.first.click()
    uploaded(page).wait_for()
    press(page, "caption")
    page.wait_for_function("document.querySelector('.caption textarea').value.length > 0")
    page.get_by_text("attention: choose a word").wait_for()
    examples.nth(1).click()  # what was said of the last picture goes
    page.wait_for_function("document.querySelector('.caption textarea').value.length == 0")
    page.get_by_text("attention: choose a word").wait_for(state="hidden")
    press(page, "caption")
    page.wait_for_function("document.querySelector('.caption textarea').value.length > 0")


def test_it_is_used_from_a_script(address: str, picture: Path) -> None:
    from gradio_client import Client, handle_file

    client = Client(address, verbose=False)
    given = handle_file(picture)
    caption, rows, *_ = client.predict(given, beams=3, count=2, api_name="/caption")
    assert caption
    assert len(rows["data"]) == 2
    assert rows["data"][0][0] == caption
    drawn, *_ = client.predict(given, temperature=1.0, count=1, api_name="/caption")
    assert drawn
    answer, history = client.predict(given, question="is there a square?", api_name="/ask")
    assert answer["label"] in ("yes", "no", "red")
    assert history["data"][0][0] == "is there a square?"
    assert "(sigmoid " in history["data"][0][1]
    named = client.predict(given, text="a square", api_name="/objects")
    assert named["data"][0][0] == "square"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "name a model"),
        (["--port", "x"], "--port"),
    ],
)
def test_mistakes_are_errors_of_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("vlrnn demo: ")
    assert complaint in printed.err


def test_the_process_of_the_page_imports_no_torch() -> None:
    """Which would double the time until the page is there: only the process of the models needs it."""
    code = f"""
import sys
from demo_server import command_line
from vlrnn.demo.app import asking, serving
from vlrnn.demo.models import checkpoints
from vlrnn.demo.guard import upload_folder
options = command_line(["--quickstart", "run", "--port", "{free_port()}"])
with upload_folder() as uploads, serving(asking(print, uploads), list(checkpoints(options)), uploads, options):
    print(sorted({{"torch", "torchvision", "pytorch_lightning", "matplotlib"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=Path(__file__).parent
    )
    assert done.stdout == "[]\n", done.stderr


def test_models_of_another_kind_or_absent_are_reported(checkpoints: Any) -> None:
    with pytest.raises(UserError, match="answers no questions"):
        load(command_line(["--classifier", str(checkpoints.plain)]))
    with pytest.raises(UserError, match=r"absent\.ckpt"):
        load(command_line(["--captioner", "absent.ckpt"]))
    with pytest.raises(UserError, match="nowhere"):
        load(command_line(["--quickstart", "nowhere"]))


@pytest.mark.slow
def test_the_end_removes_what_was_uploaded(checkpoints: Any, picture: Path) -> None:
    """By SIGTERM, too; and the process of the models ends."""
    from gradio_client import Client, handle_file

    command = [sys.executable, "demo/app.py", "--captioner", checkpoints.plain, "--port", free_port()]
    server = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = re.match(r"open (http://127\.0\.0\.1:\d+)/", server.stdout.readline())[1]  # type: ignore[index]
    client = Client(address, verbose=False)
    client.predict(handle_file(picture), beams=1, count=1, api_name="/caption")
    config = client.config["components"]
    (example, *_) = next(each["props"]["samples"] for each in config if each["type"] == "dataset")
    folder = next(each for each in Path(example[0]["path"]).parents if each.name.startswith("vlrnn-demo-"))
    assert folder.is_dir()
    server.terminate()
    assert server.stdout.read() == ""  # until all of its processes have ended
    assert server.wait(20) == 0
    assert not folder.exists()

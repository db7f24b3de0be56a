"""The page and its server: the parts of the page, the requests that they send, their limits. A part without a model is
absent. Gradio reads the environment when this is imported."""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from vlrnn.data.synthetic.rendering import render
from vlrnn.data.synthetic.scenes import sample_scene
from vlrnn.demo.guard import MAX_FILE, Guard, HostNames, UploadFolder
from vlrnn.demo.models import HEADS, MAX_QUESTION, SETTINGS
from vlrnn.errors import UserError

Handler = Callable[..., Any]
"""A function of a request's name, of the picture that was sent, and of its arguments; it raises `gr.Error`."""

MAX_SECONDS = 30.0
"""Of a request at most."""

MAX_WAITING = 16
"""Requests that wait for the models; more are refused."""

MAX_HISTORY = 50
"""Questions in the history."""

STYLE = "footer {display: none !important} .caption textarea {font-size: 1.2rem; font-weight: 600}"
_ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "models", "concurrency_limit": 1}

_SCORES = {"generative": "sequence probability", "classifier": "sigmoid or softmax of each answer"}
"""The kind of score of a head's answers; the history names it for each answer."""

_INVENTED = """The probability of the words of each object given this picture, and given a grey one. An object that is
as probable given the grey picture, or whose probability is below one half, *may be hallucinated*; so may one that a VQA
model denies. A high probability does not prove that the object is in the picture."""


def _path(_: gr.Image, payload: Any) -> Any:
    """The path of a picture, by its request. Gradio would decode it here, with no limit but its own."""
    return payload and payload.path


# Of the class, as gradio makes a component anew when an example is chosen; a subclass writes a file beside this one.
gr.Image.preprocess = _path  # type: ignore[assignment, method-assign]


def asking(worker: Callable[..., Any], uploads: UploadFolder) -> Handler:
    """A handler that passes requests to the models; a `UserError` becomes a line in the page."""

    def handle(request: str, picture: object, *arguments: Any) -> Any:
        path: object = None
        try:
            if picture is None:
                raise UserError("there is no picture; drop one first")
            path = uploads.resolve(picture)
            return worker(request, path, *arguments)
        except UserError as fault:
            line = str(fault) if path is None else str(fault).replace(str(path), Path(str(path)).name)
            raise gr.Error(line, print_exception=False) from None

    return handle


@contextmanager
def serving(
    handle: Callable[..., Any], models: Sequence[str], uploads: UploadFolder, options: argparse.Namespace
) -> Iterator[Any]:
    """The page, a `gr.Blocks`, served while the body runs. One request is handled at a time.

    Raises:
        UserError: the port is taken.
    """
    folder = uploads.folder / "examples"
    folder.mkdir()
    blocks = page(handle, models, scenes(folder))
    uploads.keep()
    guard = Middleware(Guard, HostNames(options.host, options.allowed_host), uploads)
    try:
        blocks.queue(max_size=MAX_WAITING, api_open=False).launch(
            server_name=options.host,
            server_port=options.port,
            share=False,
            enable_monitoring=False,
            max_file_size=MAX_FILE,
            state_session_capacity=1000,
            app_kwargs={"middleware": [guard]},
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            css=STYLE,
            footer_links=[],
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as fault:
        raise UserError(f"--port {options.port}: {' '.join(str(fault).split())}") from None
    try:
        yield blocks
    finally:
        blocks.close(verbose=False)


def scenes(folder: Path, count: int = 6) -> list[Path]:
    """Draw some synthetic scenes into a folder."""
    paths = [folder / f"scene-{number}.png" for number in range(1, count + 1)]
    for number, path in enumerate(paths):
        render(sample_scene(Random(f"demo {number}")), 128).save(path)
    return paths


def page(handle: Handler, models: Sequence[str], examples: Sequence[Path]) -> gr.Blocks:
    """Build the page.

    Args:
        handle: for its requests.
        models: available ones, `captioner` or keys of `HEADS`.
        examples: pictures.
    """
    heads = [name for name in HEADS if name in models]
    with gr.Blocks(title="vlrnn", analytics_enabled=False) as blocks:
        gr.Markdown("# vlrnn\nCaption an image, show the attention at each word, and ask questions about the image.")
        with gr.Row():
            with gr.Column(min_width=320):
                picture = gr.Image(
                    sources=["upload", "webcam", "clipboard"], type="filepath", height=320, label="picture"
                )
                gr.Examples([[str(path)] for path in examples], [picture], label="synthetic scenes, just made")
                if heads:
                    _question_part(handle, heads, picture)
            if "captioner" in models:
                with gr.Column(min_width=320):
                    _caption_part(handle, picture)
    return blocks


def _table(headers: list[str], widths: Sequence[str], **more: Any) -> gr.Dataframe:
    """A table as wide as its place in the page; long text wraps."""
    return gr.Dataframe(
        headers=headers, column_widths=list(widths), datatype="str", interactive=False, wrap=True, **more
    )


def _slider(name: str, value: float, step: float, label: str) -> gr.Slider:
    return gr.Slider(*SETTINGS[name], value, step=step, label=label)


def _caption_part(handle: Handler, picture: gr.Image) -> None:
    def caption(
        picture: str | None, beams: float, temperature: float, most: float, least: float, penalty: float, count: float
    ) -> tuple[str, list[list[Any]], gr.Radio]:
        text, rows, words = handle("caption", picture, beams, temperature, most, least, penalty, count)
        choices = [(word, place) for place, word in enumerate(words)]
        return text, rows, gr.Radio(choices=choices, value=None, visible=bool(words))

    def attention(picture: str | None, text: str, place: int | None) -> Any:
        return handle("attention", picture, text, place)

    def objects(picture: str | None, text: str) -> Any:
        return handle("objects", picture, text)

    with gr.Accordion("search settings", open=False):
        beams = _slider("beams", 5, 1, "beams")
        temperature = _slider("temperature", 0, 0.1, "temperature (0: search, otherwise sampling)")
        most = _slider("most", 40, 1, "most words, including the end")
        least = _slider("least", 0, 1, "fewest words")
        penalty = _slider("penalty", 1, 0.1, "length penalty")
        count = _slider("count", 3, 1, "hypotheses")
    button = gr.Button("caption", variant="primary")
    text = gr.Textbox(label="caption", interactive=False, elem_classes="caption")
    rows = _table(["hypothesis", "log probability / length^penalty"], ["70%", "30%"])
    words = gr.Radio([], label="attention: choose a word", visible=False)
    status = gr.Textbox(show_label=False, interactive=False, container=False, placeholder="probability of the word")
    map_ = gr.Image(label="attention", interactive=False, buttons=[])
    check = gr.Button("which objects may be hallucinated?")
    gr.Markdown(_INVENTED)
    named = _table(["object", "picture", "grey", "heads", "reading"], ["24%", "18%", "16%", "18%", "24%"])
    settings = [beams, temperature, most, least, penalty, count]
    button.click(caption, [picture, *settings], [text, rows, words], api_name="caption", **_ONE_AT_A_TIME)
    words.input(attention, [picture, text, words], [map_, status], api_name="look", **_ONE_AT_A_TIME)
    check.click(objects, [picture, text], [named], api_name="objects", **_ONE_AT_A_TIME)
    # In the browser itself: an answer of the server may come late, and would clear the caption of the new picture.
    nothing = [text, rows, words, status, map_, named]
    cleared = '["", none(0), {__type__: "update", choices: [], value: null, visible: false}, "", null, none(1)]'
    headers = json.dumps([rows.headers, named.headers])
    empty = f"const none = (n) => ({{headers: {headers}[n], data: [], metadata: null}});"
    picture.change(None, None, nothing, js=f"() => {{{empty} return {cleared};}}", api_visibility="private")


def _question_part(handle: Handler, heads: Sequence[str], picture: gr.Image) -> None:
    def answers(picture: str | None, question: str, earlier: list[list[str]] | None) -> list[Any]:
        labels, row = handle("answers", picture, question)
        history = [*(earlier or []), row][-MAX_HISTORY:]
        return [*labels, history, history]

    state = gr.State([])
    question = gr.Textbox(label="question", placeholder="what color is the star?", max_length=MAX_QUESTION)
    button = gr.Button("ask", variant="primary")
    with gr.Row():
        labels = [gr.Label(label=f"{HEADS[name]}: {_SCORES[name]}", num_top_classes=4) for name in heads]
    headers = ["question", *(HEADS[name] for name in heads)]
    history = _table(headers, ["40%", *(f"{60 // len(labels)}%" for _ in labels)], label="questions about this picture")
    given, shown = [picture, question, state], [*labels, history, state]
    button.click(answers, given, shown, api_name="ask", **_ONE_AT_A_TIME)
    question.submit(answers, given, shown, api_visibility="private", **_ONE_AT_A_TIME)
    private: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private"}
    picture.change(lambda: [*({} for _ in labels), [], []], None, shown, **private)

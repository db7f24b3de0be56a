"""The page: what stands where, and which requests it sends. What there is no model for is absent."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from vlrnn.demo.models import HEADS, MAX_QUESTION, SETTINGS

Handler = Callable[..., Any]
"""A function of a request's name, of the picture that was sent, and of its arguments; it raises `gr.Error`."""

MAX_HISTORY = 50
"""Questions that are shown."""

STYLE = "footer {display: none !important} .said textarea {font-size: 1.2rem; font-weight: 600}"
_ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "models", "concurrency_limit": 1}

_SCORES = {"generative": "sequence probability", "classifier": "sigmoid or softmax of each answer"}
"""What the scores of a head's answers are; the history names it for each answer."""

_INVENTED = """How likely the words of each object are given this picture, and given a grey one. An object that the grey
picture makes as likely, or that is less likely than not, *may be invented*; so may be one that a head denies. A high
probability is no proof that it is there."""


def _path(_: gr.Image, payload: Any) -> Any:
    """Where a picture lies, by its request. Gradio would decode it here, with no limit but its own."""
    return payload and payload.path


# Of the class, as gradio makes a component anew when an example is chosen; a subclass writes a file beside this one.
gr.Image.preprocess = _path  # type: ignore[assignment, method-assign]


def page(handle: Handler, models: Sequence[str], examples: Sequence[Path]) -> gr.Blocks:
    """Lay it out.

    Args:
        ask: answers its requests.
        models: which there are, `captioner` or keys of `HEADS`.
        examples: pictures.
    """
    heads = [name for name in HEADS if name in models]
    with gr.Blocks(title="vlrnn", analytics_enabled=False) as blocks:
        gr.Markdown("# vlrnn\nCaption a picture, see where the model looked, and ask about it.")
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
    """A table that is as wide as the page has room, else what is long drives other columns out of sight."""
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

    with gr.Accordion("how to search", open=False):
        beams = _slider("beams", 5, 1, "beams")
        temperature = _slider("temperature", 0, 0.1, "temperature (0 searches, more draws at random)")
        most = _slider("most", 40, 1, "most words, the end counted")
        least = _slider("least", 0, 1, "fewest words")
        penalty = _slider("penalty", 1, 0.1, "length penalty")
        count = _slider("count", 3, 1, "hypotheses")
    button = gr.Button("caption", variant="primary")
    text = gr.Textbox(label="caption", interactive=False, elem_classes="said")
    rows = _table(["hypothesis", "log probability / length^penalty"], ["70%", "30%"])
    words = gr.Radio([], label="where it looked: choose a word", visible=False)
    status = gr.Textbox(show_label=False, interactive=False, container=False, placeholder="how sure it was")
    map_ = gr.Image(label="where it looked", interactive=False, buttons=[])
    check = gr.Button("which objects may be invented?")
    gr.Markdown(_INVENTED)
    named = _table(["object", "picture", "grey", "heads", "reading"], ["24%", "18%", "16%", "18%", "24%"])
    settings = [beams, temperature, most, least, penalty, count]
    button.click(caption, [picture, *settings], [text, rows, words], api_name="caption", **_ONE_AT_A_TIME)
    words.input(attention, [picture, text, words], [map_, status], api_name="look", **_ONE_AT_A_TIME)
    check.click(objects, [picture, text], [named], api_name="objects", **_ONE_AT_A_TIME)
    # In the browser itself: what comes from the server may come late, and would clear what is said of the new picture.
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
    history = _table(headers, ["40%", *(f"{60 // len(labels)}%" for _ in labels)], label="asked of this picture")
    given, shown = [picture, question, state], [*labels, history, state]
    button.click(answers, given, shown, api_name="ask", **_ONE_AT_A_TIME)
    question.submit(answers, given, shown, api_visibility="private", **_ONE_AT_A_TIME)
    picture.change(
        lambda: [*({} for _ in labels), [], []],
        None,
        [*labels, history, state],
        concurrency_limit=None,
        api_visibility="private",
    )

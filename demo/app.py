"""Try models in the browser: caption a picture, see where the model looked, ask questions about it.

python demo/app.py --quickstart runs/quickstart
python demo/app.py --captioner CKPT --generative CKPT --classifier CKPT --objects data/flickr8k
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read as gradio is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from vlrnn.data.images import open_image
from vlrnn.data.scene_pictures import render
from vlrnn.data.scenes import sample_scene
from vlrnn.errors import Parser, UserError
from vlrnn.instruments.support import support
from vlrnn.predictor import Predictor
from vlrnn.probes.object_spans import PhraseTable, object_names, phrases
from vlrnn.records import Prediction
from vlrnn.report.attention import veiled, within

try:
    import gradio as gr
except ImportError:
    print("demo: needs gradio; install it with pip install 'vlrnn[demo]'", file=sys.stderr)
    sys.exit(2)

HEADS = {"generative": "generative head", "classifier": "classifier head"}
MAX_UPLOAD = "10mb"
NOTHING = "(nothing)"
STYLE = "footer {display: none !important} .said textarea {font-size: 1.2rem; font-weight: 600}"

INVENTED = """How likely the words of each object are given this picture, and given a grey one. An object that the grey
picture makes as likely, or that is less likely than not, *may be invented*; so may be one that a head denies. A high
probability is no proof that it is there."""


def as_uploaded(_: gr.Image, payload: Any) -> Any:
    """The file of an upload, not looked into: what cannot be read is told in the page, by our reader."""
    return payload and payload.path


# Of the class, as gradio makes a component anew when an example is chosen; a subclass writes a file beside this one.
gr.Image.preprocess = as_uploaded  # type: ignore[assignment, method-assign]


class Models(NamedTuple):
    """What the page asks: a captioner, heads of VQA by their names, and what finds objects in captions."""

    captioner: Predictor | None
    heads: dict[str, Predictor]
    find: Callable[[Sequence[str]], Any] | None


def told(work: Callable[..., Any]) -> Callable[..., Any]:
    """Make a mistake of the user's a line in the page."""

    @wraps(work)  # its parameters are those of the API
    def asked(picture: str | None, *arguments: Any) -> Any:
        try:
            if picture is None:
                raise UserError("there is no picture; drop one first")
            open_image(picture)
            return work(picture, *arguments)
        except UserError as fault:
            name = Path(picture).name if picture else ""
            raise gr.Error(str(fault).replace(str(picture), name), print_exception=False) from None

    return asked


# What the page can do.


def captions(models: Models) -> Callable[..., Any]:
    """-> the best caption; all hypotheses with their scores; and the words of the best, to choose from."""

    @told
    def caption(
        picture: str, beams: float, temperature: float, most: float, least: float, penalty: float, count: float
    ) -> tuple[str, list[list[Any]], Any]:
        assert models.captioner is not None
        drawn = {"temperature": temperature} if temperature else {"num_beams": max(int(beams), int(count))}
        said = models.captioner.caption(
            picture,
            **drawn,
            max_new_tokens=int(most),
            min_new_tokens=int(least),
            length_penalty=penalty,
            num_return_sequences=int(count),
        )
        rows = [[said.text, said.score], *([each["text"], each["score"]] for each in said.alternatives)]
        words = [(word, place) for place, word in enumerate(said.tokens)]
        rounded = [[text, round(score, 3)] for text, score in rows]
        return said.text, rounded, gr.Radio(choices=words, value=None, visible=bool(words))

    return caption


def looks(models: Models) -> Callable[..., Any]:
    """-> the picture, bright where the captioner looked as it said a word; and how sure it was of it."""

    @told
    def look(picture: str, text: str, place: int | None) -> tuple[Any, str]:
        assert models.captioner is not None
        words = models.captioner.tokenizer.tokenize(text)
        if place is None or not 0 <= int(place) < len(words):
            return None, ""
        again = models.captioner.reread(picture, words)
        line = f"“{words[int(place)]}”: probability {math.exp(again.log_probs[int(place)]):.1%}"
        if again.attention is None:
            return None, f"{line}; this decoder does not attend"
        if again.gates is not None:
            line += f", gate {again.gates[int(place)]:.2f}"
        return veiled(within(open_image(picture), 512), again.attention[int(place)]), line

    return look


def objects(models: Models) -> Callable[..., Any]:
    """-> a row for each object that a caption names: its probabilities, what the heads say, and what to make of it."""

    @told
    def check(picture: str, text: str) -> list[list[Any]]:
        assert models.captioner is not None
        if models.find is None:
            raise UserError("which words name objects is not known; start with --objects")
        rows = []
        for each in support(models.captioner, picture, models.captioner.tokenizer.tokenize(text), models.find):
            question = f"is there a {each.object}"
            replies = [head.answer(picture, question).text for head in models.heads.values()]
            doubtful = each.doubtful or "no" in replies
            reading = "may be invented" if doubtful else "seen"
            rows.append([each.object, f"{each.image:.1%}", f"{each.blank:.1%}", ", ".join(replies) or "-", reading])
        return rows

    return check


def answers(models: Models) -> Callable[..., Any]:
    """-> of each head its answers with their probabilities; and all that was asked of this picture."""

    @told
    def ask(picture: str, question: str, asked: list[list[str]] | None) -> list[Any]:
        replies = [head.answer(picture, question) for head in models.heads.values()]
        row = [question, *(f"{reply.text or NOTHING} ({reply.score or 0:.0%})" for reply in replies)]
        history = [*(asked or []), row]
        return [*map(confidences, replies), history, history]

    return ask


def confidences(reply: Prediction) -> dict[str, float]:
    """Answer -> probability, as a label shows them."""
    found = {reply.text or NOTHING: float(reply.score or 0)}
    for each in reply.alternatives:
        found.setdefault(str(each["text"]) or NOTHING, float(each["score"]))
    return found


# The page.


def page(models: Models, examples: Sequence[Path]) -> gr.Blocks:
    """Lay it out; what there is no model for is absent."""
    with gr.Blocks(title="vlrnn", analytics_enabled=False) as blocks:
        gr.Markdown("# vlrnn\nCaption a picture, see where the model looked, and ask about it.")
        with gr.Row():
            with gr.Column(min_width=320):
                picture = gr.Image(
                    sources=["upload", "webcam", "clipboard"], type="filepath", height=320, label="picture"
                )
                gr.Examples([[str(path)] for path in examples], [picture], label="synthetic scenes, just made")
                if models.heads:
                    _question_part(models, picture)
            if models.captioner:
                with gr.Column(min_width=320):
                    _caption_part(models, picture)
    return blocks


def table(headers: list[str], widths: Sequence[str], **more: Any) -> gr.Dataframe:
    """A table that is as wide as the page has room, else what is long drives other columns out of sight."""
    return gr.Dataframe(
        headers=headers, column_widths=list(widths), datatype="str", interactive=False, wrap=True, **more
    )


def _caption_part(models: Models, picture: gr.Image) -> None:
    with gr.Accordion("how to search", open=False):
        beams = gr.Slider(1, 10, 5, step=1, label="beams")
        temperature = gr.Slider(0, 2, 0, step=0.1, label="temperature (0 searches, more draws at random)")
        most = gr.Slider(2, 60, 40, step=1, label="most words, the end counted")
        least = gr.Slider(0, 30, 0, step=1, label="fewest words")
        penalty = gr.Slider(0, 2, 1, step=0.1, label="length penalty")
        count = gr.Slider(1, 5, 3, step=1, label="hypotheses")
    button = gr.Button("caption", variant="primary")
    text = gr.Textbox(label="caption", interactive=False, elem_classes="said")
    rows = table(["hypothesis", "score"], ["75%", "25%"])
    words = gr.Radio([], label="where it looked: choose a word", visible=False)
    status = gr.Textbox(show_label=False, interactive=False, container=False, placeholder="how sure it was")
    map_ = gr.Image(label="where it looked", interactive=False, buttons=[])
    check = gr.Button("which objects may be invented?")
    gr.Markdown(INVENTED)
    named = table(["object", "picture", "grey", "heads", "reading"], ["24%", "18%", "16%", "18%", "24%"])
    settings = [beams, temperature, most, least, penalty, count]
    button.click(captions(models), [picture, *settings], [text, rows, words], api_name="caption")
    words.input(looks(models), [picture, text, words], [map_, status], api_name="look")
    check.click(objects(models), [picture, text], [named], api_name="objects")
    # In the browser itself: what comes from the server may come late, and would clear what is said of the new picture.
    nothing = [text, rows, words, status, map_, named]
    cleared = '["", none(0), {__type__: "update", choices: [], value: null, visible: false}, "", null, none(1)]'
    headers = json.dumps([rows.headers, named.headers])
    empty = f"const none = (n) => ({{headers: {headers}[n], data: [], metadata: null}});"
    picture.change(None, None, nothing, js=f"() => {{{empty} return {cleared};}}", api_visibility="private")


def _question_part(models: Models, picture: gr.Image) -> None:
    asked = gr.State([])
    question = gr.Textbox(label="question", placeholder="what color is the star?", max_length=300)
    button = gr.Button("ask", variant="primary")
    with gr.Row():
        labels = [gr.Label(label=HEADS[name], num_top_classes=4) for name in models.heads]
    headers = ["question", *(HEADS[name] for name in models.heads)]
    history = table(headers, ["40%", *(f"{60 // len(labels)}%" for _ in labels)], label="asked of this picture")
    given, shown = [picture, question, asked], [*labels, history, asked]
    button.click(answers(models), given, shown, api_name="ask")
    question.submit(answers(models), given, shown, api_visibility="private")
    picture.change(
        lambda: [*({} for _ in labels), [], []],
        None,
        [*labels, history, asked],
        queue=False,
        api_visibility="private",
    )


# Starting it.


def load(options: argparse.Namespace) -> Models:
    """The models that the command line names.

    Raises:
        UserError: none is named, or one cannot be loaded, or is of another kind.
    """
    paths = {name: getattr(options, name) for name in ("captioner", *HEADS)}
    known = options.objects
    if options.quickstart:
        runs = {"captioner": "captioning", "generative": "generative_vqa", "classifier": "classifier_vqa"}
        paths = {name: paths[name] or f"{options.quickstart}/{run}/checkpoints/best.ckpt" for name, run in runs.items()}
        known = known or f"{options.quickstart}/scenes/captions"
    if not any(paths.values()):
        raise UserError("name a model: --quickstart RUN, or --captioner, --generative, --classifier with a checkpoint")
    models = {name: Predictor.load(path, options.device) for name, path in paths.items() if path}
    for name, model in models.items():  # each is asked once, so that one of another kind is told of now
        blank = render(sample_scene(Random(0)))
        model.caption(blank) if name == "captioner" else model.answer(blank, "what is it?")
    find = None
    if known:
        folder = Path(known).is_dir()
        find = PhraseTable(phrases(object_names(known) if folder else (), None if folder else known)).find
    return Models(models.pop("captioner", None), models, find)


def command_line(argv: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for.

    Raises:
        UserError: an option is wrong.
    """
    parser = Parser(description="Caption pictures and answer questions about them in the browser.")
    parser.add_argument("--quickstart", metavar="RUN", help="the folder of vlrnn quickstart: it has all three")
    parser.add_argument("--captioner", metavar="CKPT")
    for name, title in HEADS.items():
        parser.add_argument(f"--{name}", metavar="CKPT", help=f"VQA, {title}")
    parser.add_argument("--objects", metavar="TABLE", help="what captions can name: a data set, or a table as of CHAIR")
    parser.add_argument("--device", help="cpu, cuda, ...; by default a GPU where there is one")
    parser.add_argument("--host", default="127.0.0.1", help="who may come: this machine alone (%(default)s)")
    parser.add_argument("--port", type=int, default=7860)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Start the page; returns the exit code."""
    try:
        options = command_line(argv)
        models = load(options)
        with TemporaryDirectory() as folder:
            serve(page(models, scenes(Path(folder))), options.host, options.port)
    except UserError as fault:
        print(f"demo: {fault}", file=sys.stderr)
        return 2
    return 0


def scenes(folder: Path, count: int = 6) -> list[Path]:
    """Draw some synthetic scenes into a folder."""
    paths = [folder / f"scene-{number}.png" for number in range(1, count + 1)]
    for number, path in enumerate(paths):
        render(sample_scene(Random(f"demo {number}")), 128).save(path)
    return paths


def serve(blocks: gr.Blocks, host: str, port: int) -> None:
    """Serve the page until Ctrl-C. One model is asked at a time.

    Raises:
        UserError: the port is taken.
    """
    try:
        blocks.queue(default_concurrency_limit=1, max_size=64).launch(
            server_name=host,
            server_port=port,
            share=False,
            max_file_size=MAX_UPLOAD,
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            css=STYLE,
            footer_links=[],
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
        )
        print(f"open {blocks.local_url} (Ctrl-C ends it)", flush=True)
        blocks.block_thread()
    except OSError as fault:
        raise UserError(f"--port {port}: {' '.join(str(fault).split())}") from None


if __name__ == "__main__":
    sys.exit(main())

"""Start the page: the command line, the folder of uploads, the models' process, the server."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

from vlrnn.data.synthetic.rendering import render
from vlrnn.data.synthetic.scenes import sample_scene
from vlrnn.demo.models import HEADS, checkpoints, prepare
from vlrnn.demo.uploads import UploadFolder, upload_folder
from vlrnn.demo.worker import Worker
from vlrnn.errors import Parser, UserError
from vlrnn.terminal import print_line
from vlrnn.trust import add_trust

MAX_SECONDS = 30.0
"""What a request may take."""

MAX_WAITING = 16
"""Requests that wait for the models; more are refused."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until Ctrl-C or SIGTERM; returns the exit code."""
    try:
        options = command_line(argv)
        names = list(checkpoints(options))
        with _ended_by_sigterm(), upload_folder() as uploads:
            _set_up_gradio(uploads.folder)
            with (
                closing(Worker(prepare, options, MAX_SECONDS)) as worker,
                serving(asking(worker, uploads), names, uploads, options) as blocks,
            ):
                print_line(f"open {blocks.local_url} (Ctrl-C ends it)")
                blocks.block_thread()
    except UserError as fault:
        print_line(f"demo: {fault}", file=sys.stderr)
        return 2
    return 0


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
    add_trust(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to serve; 0.0.0.0: every one of this machine (%(default)s)"
    )
    parser.add_argument(
        "--allowed_host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name by which the page is reached, of a proxy before it, say; may be given again",
    )
    parser.add_argument("--port", type=int, default=7860)
    return parser.parse_args(argv)


def asking(worker: Callable[..., Any], uploads: UploadFolder) -> Callable[..., Any]:
    """A function of a request, its picture and its arguments; a mistake of the user's becomes a line in the page."""
    import gradio as gr

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
    """The page, a `gr.Blocks`, served while the body runs. One request is worked at a time.

    Raises:
        UserError: the port is taken.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    from vlrnn.demo.guard import MAX_FILE, Guard, HostNames
    from vlrnn.demo.page import STYLE, page

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


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the body as an exception does, so that what was uploaded is removed."""

    def end(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _set_up_gradio(folder: Path) -> None:
    """What gradio reads of the environment as it is imported: where its files go, and that it is to ask nobody."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = os.environ["GRADIO_RUN_HISTORY"] = "False"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise UserError("needs gradio; install it with pip install 'vlrnn[demo]'") from None

"""`vlrnn demo`: caption images and answer questions about them in a page of the browser."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlrnn.errors import UserError
from vlrnn.terminal import print_line
from vlrnn.trust import add_trust


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--quickstart", metavar="RUN", help="the folder of vlrnn quickstart: it has all three models")
    add("--captioner", metavar="CKPT")
    add("--generative", metavar="CKPT", help="VQA, generative head")
    add("--classifier", metavar="CKPT", help="VQA, classifier head")
    add("--objects", metavar="TABLE", help="objects in captions: a data set, or a table of synonyms as for CHAIR")
    add("--device", help="cpu, cuda, ...; by default a GPU if available")
    add_trust(parser)
    add(
        "--host",
        default="127.0.0.1",
        help="the address to serve; 0.0.0.0: all of this machine (default 127.0.0.1)",
    )
    add(
        "--allowed_host",
        action="append",
        default=[],
        metavar="NAME",
        help="another host name of the page, for example that of a proxy; may be repeated",
    )
    add("--port", type=int, default=7860, help="default 7860")


def run(arguments: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    from vlrnn.demo.models import checkpoints, prepare

    names = list(checkpoints(arguments))
    if find_spec("gradio") is None:
        raise UserError("needs gradio; install it with pip install 'vlrnn[demo]'")
    from vlrnn.demo.guard import upload_folder
    from vlrnn.demo.worker import Worker

    with _ended_by_sigterm(), upload_folder() as uploads:
        _set_up_gradio(uploads.folder)
        from vlrnn.demo.app import MAX_SECONDS, asking, serving

        with (
            closing(Worker(prepare, arguments, MAX_SECONDS)) as worker,
            serving(asking(worker, uploads), names, uploads, arguments) as blocks,
        ):
            print_line(f"open {blocks.local_url} (Ctrl-C ends it)")
            blocks.block_thread()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the body by an exception, so that uploads are removed."""

    def end(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _set_up_gradio(folder: Path) -> None:
    """Set the environment variables that gradio reads at import: the folder of its files, and no requests to others."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = os.environ["GRADIO_RUN_HISTORY"] = "False"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

"""The demo page's server, run within a test, and asked by plain HTTP."""

import argparse
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from vlrnn.commands.demo import add_arguments
from vlrnn.data.records import Prediction
from vlrnn.demo.app import asking, serving
from vlrnn.demo.guard import UploadFolder, upload_folder
from vlrnn.demo.models import Models, reply
from vlrnn.errors import Parser

ENDPOINTS: dict[str, list[Any]] = {
    "caption": [5, 0, 10, 0, 1, 1],
    "look": ["a dog", None],
    "objects": ["a dog"],
    "ask": ["is there a dog?"],
}
"""Each endpoint that takes a picture, and what it takes besides."""


def command_line(arguments: list[str]) -> argparse.Namespace:
    parser = Parser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])


class Answer(NamedTuple):
    status: int
    body: str


class Server(NamedTuple):
    port: int
    uploads: UploadFolder
    opened: list[Path]
    """What reached the models, and was opened."""

    connected: list[Any]
    """Addresses that this process connected to."""

    working: threading.Event
    """Where it is cleared, the models wait."""

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {}, **more)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"))
        finally:
            connection.close()

    def post(self, path: str, content: Any, **headers: str) -> Answer:
        return self.request(
            "POST", f"/gradio_api/{path}", json.dumps(content), {"Content-Type": "application/json", **headers}
        )

    def call(self, endpoint: str, picture: Any, *arguments: Any) -> Answer:
        """Ask as a script does; the status of what was refused at the door, else the stream of events to its end."""
        posted = self.post(f"call/{endpoint}", {"data": [picture, *(arguments or ENDPOINTS[endpoint])]})
        if posted.status != 200:
            return posted
        return self.request("GET", f"/gradio_api/call/{endpoint}/{json.loads(posted.body)['event_id']}")

    def upload(self, content: bytes, name: str = "a.png") -> Answer:
        head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        return self.request("POST", "/gradio_api/upload", head + content + b"\r\n--b--\r\n", headers)

    def uploaded(self, content: bytes, name: str = "a.png") -> str:
        """The path of a picture, uploaded."""
        return str(json.loads(self.upload(content, name).body)[0])


class _Predictor:
    """Says the same of every picture."""

    tokenizer = SimpleNamespace(tokenize=str.split)

    def caption(self, picture: Image.Image, **settings: Any) -> Prediction:
        return Prediction(1, 1, "a dog", tokens=("a", "dog"), score=-0.5)

    def answer(self, picture: Image.Image, question: str) -> Prediction:
        return Prediction(1, 1, "yes", score=0.5)

    def score_caption(self, picture: Image.Image, words: list[str]) -> Any:
        return SimpleNamespace(log_probs=np.full(len(words) + 1, -1.0), attention=np.ones((len(words), 4)), gates=None)


MADE_UP = Models(_Predictor(), {"classifier": _Predictor()}, lambda words: [])  # type: ignore[arg-type, dict-item]


@contextmanager
def served(*arguments: str, models: Models = MADE_UP) -> Iterator[Server]:
    """A server with this command line, whose models work in this process."""
    opened: list[Path] = []
    connected: list[Any] = []
    working = threading.Event()
    working.set()

    def work(request: str, picture: Path, *arguments: Any) -> Any:
        opened.append(picture)
        assert working.wait(60)
        return reply(models, request, picture, *arguments)

    connect = socket.socket.connect

    def connecting(each: socket.socket, address: Any) -> Any:
        connected.append(address)
        return connect(each, address)

    options = command_line(["--port", str(free_port()), *arguments])
    with pytest.MonkeyPatch.context() as patch, upload_folder() as uploads:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads.folder))
        patch.setattr(socket.socket, "connect", connecting)
        with serving(asking(work, uploads), ["captioner", "classifier"], uploads, options):
            yield Server(options.port, uploads, opened, connected, working)

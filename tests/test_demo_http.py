"""What strangers may send to the demo page's server: asked by plain HTTP, over models that are made up."""

import io
import json
import os
import socket
import stat
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from demo_server import ENDPOINTS, Server, served
from PIL import Image

from vlrnn.demo.app import MAX_WAITING
from vlrnn.demo.models import MAX_CAPTION, MAX_QUESTION

pytest.importorskip("gradio", reason="needs gradio, of the extra demo")

FOREIGN = "this picture was not uploaded here, or was removed since; upload it again"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as running:
        yield running
    local = {address[0] for address in running.connected if isinstance(address, tuple)}
    assert local <= {"127.0.0.1", "::1"}  # nobody elsewhere was asked for anything, not as it started, either


def png(size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "PNG")
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size, and has nothing behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


# Which files are opened.


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the server's with a picture, and one within a tar file."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "secret.png").write_bytes(png())
    with tarfile.open(folder / "shard.tar", "w") as tar:
        tar.add(folder / "secret.png", "secret.png")
    return folder


def linked(uploads: Path, name: str, target: Path) -> Path:
    link = uploads / name
    if not link.is_symlink():
        link.symlink_to(target)
    return link


WAYS: dict[str, Callable[[Path, Path], str | Path]] = {
    "absolute": lambda uploads, outside: outside / "secret.png",
    "relative": lambda uploads, outside: os.path.relpath(outside / "secret.png"),
    "out of the folder": lambda uploads, outside: (
        uploads / ".." / os.path.relpath(outside / "secret.png", uploads / "..")
    ),
    "link to a file": lambda uploads, outside: linked(uploads, "link.png", outside / "secret.png"),
    "link to a folder": lambda uploads, outside: linked(uploads, "links", outside) / "secret.png",
    "circle of links": lambda uploads, outside: linked(uploads, "circle", uploads / "circle"),
    "member of a tar file": lambda uploads, outside: outside / "shard.tar" / "secret.png",
    "absent": lambda uploads, outside: outside / "absent.png",
    "absent upload": lambda uploads, outside: uploads / "absent.png",
    "the folder": lambda uploads, outside: uploads,
    "device": lambda uploads, outside: "/dev/zero",
    "no name of a file": lambda uploads, outside: "a\0b.png",
    "long name": lambda uploads, outside: "/" + "a" * 5000,
    "file: address": lambda uploads, outside: f"file://{outside}/secret.png",
}


def test_no_file_but_uploads_is_opened(subtests: pytest.Subtests, server: Server, outside: Path) -> None:
    """And the answer is the same for all, so that it does not reveal which files there are."""
    for endpoint, meta in product(ENDPOINTS, [{}, {"meta": {"_type": "gradio.FileData"}}]):
        with subtests.test(endpoint=endpoint, meta=meta):
            uploads, before = server.uploads.folder, sorted(outside.iterdir())
            server.opened.clear()
            replies = {
                way: server.call(endpoint, {"path": str(name(uploads, outside)), **meta}).body
                for way, name in WAYS.items()
            }
            assert len(set(replies.values())) == 1, replies
            assert replies["absolute"].startswith("event: error")
            assert FOREIGN in replies["absolute"]
            assert server.opened == []
            assert sorted(outside.iterdir()) == before  # no index beside the tar file


def test_a_pipe_stops_nobody(server: Server) -> None:
    pipe = server.uploads.folder / "pipe.png"
    os.mkfifo(pipe)
    assert FOREIGN in server.call("caption", {"path": str(pipe)}).body


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_nothing_is_fetched(server: Server, endpoint: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        url = f"http://127.0.0.1:{address[1]}/a.png"
        for picture in (
            {"url": url},
            {"path": url},
            {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}},
            {"path": None, "url": url, "meta": {"_type": "gradio.FileData"}},
            {"path": url, "is_stream": True, "meta": {"_type": "gradio.FileData"}},
        ):
            assert server.call(endpoint, picture).body.startswith("event: error")
        assert server.request("GET", f"/gradio_api/file={url}").status == 404
        assert address not in server.connected


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_uploads_and_examples_are_opened(server: Server, endpoint: str) -> None:
    upload = Path(server.uploaded(png()))
    (example, *_) = (server.uploads.folder / "examples").iterdir()
    server.opened.clear()
    for picture in (upload, example):
        assert server.call(endpoint, {"path": str(picture)}).body.startswith("event: complete")
    assert server.opened == [upload, example]


def test_only_uploads_are_sent_to_browsers(server: Server, outside: Path) -> None:
    upload = server.uploaded(png())
    assert server.request("GET", f"/gradio_api/file={upload}").status == 200
    for way in ("absolute", "out of the folder", "link to a file", "link to a folder", "absent", "device"):
        path = WAYS[way](server.uploads.folder, outside)
        assert server.request("GET", f"/gradio_api/file={path}") == (404, "not found"), way


# How much may be sent.


@pytest.mark.parametrize(
    ("size", "complaint"),
    [((1, 89_000_000), "a side of more than 16,384 pixels"), ((16_000, 16_000), "more than 67,108,864 pixels")],
)
def test_a_picture_is_refused_by_its_header(server: Server, size: tuple[int, int], complaint: str) -> None:
    reply = server.call("caption", {"path": server.uploaded(png_header(*size))}).body
    assert f"a.png: {complaint}" in reply
    assert str(server.uploads.folder) not in reply


@pytest.mark.parametrize(
    ("endpoint", "longest", "arguments"),
    [("look", MAX_CAPTION, [None]), ("objects", MAX_CAPTION, []), ("ask", MAX_QUESTION, [])],
)
def test_long_texts_are_refused(server: Server, endpoint: str, longest: int, arguments: list[Any]) -> None:
    """In the fields that the page does not let be edited, too."""
    picture = {"path": server.uploaded(png())}
    assert server.call(endpoint, picture, "a" * longest, *arguments).body.startswith("event: complete")
    assert f"at most {longest:,} characters" in server.call(endpoint, picture, "a" * (longest + 1), *arguments).body
    assert server.call(endpoint, picture, "a" * 1_000_000, *arguments).status == 413
    assert "must be a text" in server.call(endpoint, picture, None, *arguments).body


def test_settings_are_bounded(subtests: pytest.Subtests, server: Server) -> None:
    for place, value in product(range(6), [1e9, -1, float("nan"), "many", None]):
        with subtests.test(place=place, value=value):
            settings = [*ENDPOINTS["caption"]]
            settings[place] = value
            assert server.call("caption", {"path": server.uploaded(png())}, *settings).body.startswith("event: error")


def test_requests_are_bounded(server: Server) -> None:
    path, json_type = "/gradio_api/call/caption", {"Content-Type": "application/json"}
    assert server.request("POST", path, iter([b"{}"]), json_type, encode_chunked=True).status == 411
    assert server.request("POST", path, b"[" * 60_000, json_type).status == 400
    assert server.request("POST", path, b"\xff", json_type).status == 400
    assert server.upload(bytes(11 * 2**20)).status == 413


# Who may send it, and where to.


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/gradio_api/call/caption"])
def test_other_names_are_refused(server: Server, path: str) -> None:
    """A page elsewhere that has a browser take this server for its own is read nothing and sends nothing."""
    method = "POST" if "call" in path else "GET"
    for name in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example", "192.168.0.9", ""):
        assert server.request(method, path, None, {"Host": name}).status == 421, name
    for name in ("localhost", f"LOCALHOST:{server.port}", f"127.0.0.1:{server.port}", f"[::1]:{server.port}"):
        assert server.request("GET", "/config", None, {"Host": name}).status == 200, name


def test_other_pages_send_nothing(server: Server) -> None:
    content = {"data": [None, *ENDPOINTS["caption"]]}
    for origin in ("http://evil.example", f"http://127.0.0.1:{server.port + 1}", "null", "http://["):
        assert server.post("call/caption", content, Origin=origin).status == 403, origin
    assert server.post("call/caption", content, Origin=f"http://127.0.0.1:{server.port}").status == 200


def test_names_are_allowed_by_option() -> None:
    with served("--allowed_host", "Demo.example") as server:
        assert server.request("GET", "/config", None, {"Host": "demo.example"}).status == 200
        assert server.request("GET", "/config", None, {"Host": "evil.example"}).status == 421
        # A proxy may pass a request on by another name than the browser's.
        content = {"data": [None, *ENDPOINTS["caption"]]}
        assert server.post("call/caption", content, Origin="https://demo.example").status == 200


CLOSED = [
    ("POST", "api/caption"),
    ("POST", "call/v2/caption"),
    ("POST", "component_server"),
    ("POST", "process_recording"),
    ("POST", "vibe-code"),
    ("POST", "run-history/connect"),
    ("PUT", "call/caption"),
    ("GET", "proxy=http://127.0.0.1/"),
    ("GET", "deep_link?session_hash=a"),
    ("GET", "vibe-code"),
    ("GET", "runs"),
    ("GET", "dev/reload"),
    ("GET", "../monitoring"),
    ("GET", "../monitoring/summary"),
]


def test_what_the_page_does_not_need_is_closed(subtests: pytest.Subtests, server: Server) -> None:
    for method, path in CLOSED:
        with subtests.test(method=method, path=path):
            url = os.path.normpath(f"/gradio_api/{path}") if path.startswith("..") else f"/gradio_api/{path}"
            assert server.request(method, url, "{}" if method != "GET" else None).status == 404


def test_nobody_passes_those_who_wait(server: Server) -> None:
    """Gradio has a route beside the queue, by which examples are loaded; what asks the models is refused there."""
    functions = json.loads(server.request("GET", "/config").body)["dependencies"]
    numbers = {each["api_name"]: each["id"] for each in functions}
    server.opened.clear()
    for endpoint, arguments in ENDPOINTS.items():
        content = {"data": [{"path": server.uploaded(png())}, *arguments]}
        assert server.post(f"run/{endpoint}", content).status == 404
        assert server.post("run/predict", {**content, "fn_index": numbers[endpoint]}).status == 404
    assert server.opened == []


def test_errors_reveal_nothing_of_the_server(server: Server) -> None:
    """A fault, that of a request whose parts are of a wrong kind, say, is no text in the reply."""
    reply = server.call("caption", {"path": server.uploaded(png())}, "many", 0, 10, 0, 1, 1).body
    assert "Traceback" not in reply
    assert str(server.uploads.folder) not in reply


# What stays.


def test_the_folder_is_private_and_removed() -> None:
    with served() as server:
        folder = server.uploads.folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert Path(server.uploaded(png())).is_relative_to(folder)
    assert not folder.exists()


def test_what_is_old_or_too_much_is_removed(server: Server) -> None:
    """The oldest first; examples stay."""
    server.uploads.prune(max_age=-1)
    examples = [path for path, _ in server.uploads._files() if path.is_relative_to(server.uploads.folder / "examples")]
    paths = [Path(server.uploaded(png((8, 9 + number)))) for number in range(3)]
    for path, age in zip(paths, (7200, 60, 30), strict=True):
        moment = path.stat().st_mtime - age
        os.utime(path, (moment, moment))
    server.uploads.prune()
    assert [path.exists() for path in paths] == [False, True, True]
    server.uploads.prune(max_total=paths[2].stat().st_size)
    assert [path.exists() for path in paths] == [False, False, True]
    assert FOREIGN in server.call("caption", {"path": str(paths[0])}).body
    server.uploads.prune(max_age=-1)
    assert not paths[2].exists()
    assert len(examples) == 6
    assert all(map(Path.exists, examples))


def test_uploads_are_pruned_as_they_come(server: Server) -> None:
    old = Path(server.uploaded(png((9, 9))))
    os.utime(old, (0, 0))
    server.uploaded(png((10, 9)))
    assert not old.exists()


def test_what_waits_is_bounded(server: Server) -> None:
    """Whoever comes when many wait is told so at once; and the server lives on."""
    picture = {"path": server.uploaded(png())}
    server.working.clear()
    statuses = [server.post("call/caption", {"data": [picture, *ENDPOINTS["caption"]]}).status for _ in range(20)]
    server.working.set()
    assert statuses[:MAX_WAITING] == [200] * MAX_WAITING
    assert statuses[-1] == 503
    server.call("caption", picture)

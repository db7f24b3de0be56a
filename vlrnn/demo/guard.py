"""The requests that reach the server of the page, and the folder of uploads. Requests must be addressed to the server's
own names, from its own page or a script, to the routes that the page needs, be of a bounded size, and name no file but
uploads. Others are refused ahead of gradio. Independent of models.

Gradio has many routes, and more with each version; it passes a picture on without checking its path when its
`meta` is missing, and fetches it from the network when it is an address.
"""

import ipaddress
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from vlrnn.errors import UserError

MAX_FILE = 10 * 2**20
"""Bytes of an upload."""

MAX_BODY = 2**16
"""Bytes of any other request: longer than any question, caption and file name together."""

MAX_AGE = 3600.0
"""Seconds after which an upload is removed."""

MAX_TOTAL = 2**30
"""Bytes of all uploads together; of more, the oldest are removed."""

_INTERVAL = 60.0

_API = "/gradio_api"
_READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/(assets|static|svelte)/.+"
    rf"|{_API}/(info/?|startup-events|app_id/?|theme\.css|heartbeat/\w+|queue/data|upload_progress|call/\w+/\w+)"
)
_FILE = f"{_API}/file="
_UPLOAD = f"{_API}/upload"
_CALL = re.compile(rf"{_API}/(queue/join|call/\w+|run/\w+|cancel|reset)/?")  # run: gradio refuses what is to queue


class UploadFolder:
    """The only folder whose files the server opens: uploads are removed in time, examples stay.

    Args:
        folder: an existing one that only the user of the server may read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._permanent: frozenset[Path] = frozenset()

    def keep(self) -> None:
        """Never remove the present files, the examples."""
        self._permanent = frozenset(path for path, _ in self._files())

    def resolve(self, path: object) -> Path:
        """The real path of a picture that was uploaded here.

        Raises:
            UserError: it lies elsewhere, links resolved, or is no regular file; the same words for all, so that they
                do not reveal which files there are.
        """
        try:
            real = Path(str(path)).resolve()
            admitted = real.is_relative_to(self.folder) and real.is_file()
        except (OSError, RuntimeError, ValueError):  # a name that no file can have, or a circle of links
            admitted = False
        if not admitted:
            raise UserError("this picture was not uploaded here, or was removed since; upload it again")
        return real

    def prune(self, max_age: float = MAX_AGE, max_total: int = MAX_TOTAL) -> None:
        """Remove uploads that are too old, and the oldest ones where all together are too large."""
        total, now = 0, time.time()
        for path, entry in sorted(self._files(), key=lambda each: each[1].st_mtime, reverse=True):
            if path in self._permanent:
                continue
            total += entry.st_size
            if total > max_total or now - entry.st_mtime > max_age:
                with suppress(OSError):
                    path.unlink()
        for parent, _, _ in os.walk(self.folder, topdown=False):
            with suppress(OSError):  # a folder is kept where there is something in it, or may be in a moment
                if parent != str(self.folder) and now - os.stat(parent).st_mtime > max_age:
                    os.rmdir(parent)

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for parent, _, names in os.walk(self.folder):
            for name in names:
                path = Path(parent, name)
                with suppress(OSError):  # removed meanwhile
                    found.append((path, path.lstat()))
        return found


@contextmanager
def upload_folder() -> Iterator[UploadFolder]:
    """A private folder that is pruned every minute, and removed at the end."""
    # The last files may still be written as the server ends.
    with TemporaryDirectory(prefix="vlrnn-demo-", ignore_cleanup_errors=True) as folder:
        uploads, ended = UploadFolder(Path(folder)), threading.Event()

        def run() -> None:
            while not ended.wait(_INTERVAL):
                uploads.prune()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield uploads
        finally:
            ended.set()
            thread.join()


class Refusal(NamedTuple):
    """The HTTP status and the reason."""

    status: int
    reason: str


class HostNames:
    """The names by which a server may be addressed.

    Another site can make its own name resolve to the address of this server (DNS rebinding), so that its scripts may
    send requests and read the replies; but the browser then sends that site's name in the `Host` header.

    Args:
        bound: the address of the server. Bound to every address, it accepts any address, and this machine's name.
        allowed: further names, such as that of a proxy.
    """

    def __init__(self, bound: str, allowed: Iterable[str] = ()) -> None:
        address = _address(bound)
        self._any_address = address is not None and address.is_unspecified
        self._allowed = {name.lower() for name in allowed}
        self._names = {bound.lower(), *self._allowed}
        if self._any_address or bound == "localhost" or (address is not None and address.is_loopback):
            self._names |= {"localhost", "127.0.0.1", "::1"}
        if self._any_address:
            self._names.add(socket.gethostname().lower())

    def has(self, host: str) -> bool:
        """Whether the `Host` header of a request, a name with or without a port, is one of this server's."""
        name = _hostname(f"//{host}")
        return name in self._names or (self._any_address and _address(name) is not None)

    def same(self, origin: str, host: str) -> bool:
        """Whether the page that sent a request, by its `Origin` header, is the server's own."""
        return origin.lower().partition("//")[2] == host.lower() or _hostname(origin) in self._allowed


class Guard:
    """ASGI middleware around the page."""

    def __init__(self, app: ASGIApp, names: HostNames, uploads: UploadFolder) -> None:
        self._app = app
        self._names = names
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page opens no web socket
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope)
        if refusal is None and scope["method"] == "POST":
            if scope["path"] == _UPLOAD:
                await to_thread.run_sync(self._uploads.prune)
            else:
                receive, refusal = await _bare_pictures(receive)
        if refusal is not None:
            await PlainTextResponse(refusal.reason, refusal.status)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._names.has(host):
            return Refusal(421, "this server has another name; --allowed_host allows more")
        if origin is not None and not self._names.same(origin, host):
            return Refusal(403, "requests of other pages are refused")
        if method in ("GET", "HEAD"):
            if not path.startswith(_FILE):
                return None if _READ.fullmatch(path) else _NOT_FOUND
            try:
                self._uploads.resolve(path.removeprefix(_FILE))
            except UserError:
                return _NOT_FOUND
            return None
        if method == "POST" and (path == _UPLOAD or _CALL.fullmatch(path)):
            return _size_refusal(headers, MAX_FILE + MAX_BODY if path == _UPLOAD else MAX_BODY)
        return _NOT_FOUND


_NOT_FOUND = Refusal(404, "not found")


def _size_refusal(headers: Headers, most: int) -> Refusal | None:
    """Requires a length: the server limits a body to the announced one."""
    length = headers.get("content-length", "")
    if not re.fullmatch("[0-9]{1,15}", length) or "transfer-encoding" in headers:
        return Refusal(411, "the length of the request must be announced")
    return Refusal(413, f"more than {most:,} bytes") if int(length) > most else None


async def _bare_pictures(receive: Receive) -> tuple[Receive, Refusal | None]:
    """A JSON request whose pictures have only their path: gradio then neither copies nor fetches anything, and the path
    is checked when the file is opened."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    try:
        content = json.loads(body)
        if isinstance(content, dict) and "data" in content:
            content["data"] = _bare(content["data"])
        body = json.dumps(content).encode()
    except (ValueError, RecursionError):
        return receive, Refusal(400, "not JSON")
    left: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> MutableMapping[str, Any]:
        return left.pop() if left else await receive()

    return replay, None


def _bare(value: Any) -> Any:
    if isinstance(value, list):
        return [_bare(each) for each in value]
    if isinstance(value, dict):
        return {"path": str(value["path"])} if value.get("path") else None
    return value


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None

"""The folder of a server's pictures: the only one whose files are opened, and emptied of what is old."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from vlrnn.errors import UserError

MAX_AGE = 3600.0
"""Seconds after which an upload is removed."""

MAX_TOTAL = 2**30
"""Bytes of all uploads together; of more, the oldest are removed."""

_INTERVAL = 60.0


class UploadFolder:
    """A folder in which uploads come and go, and examples stay.

    Args:
        folder: exists; may only be read by who runs the server.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._permanent: frozenset[Path] = frozenset()

    def keep(self) -> None:
        """The files that are there now, the examples, are never removed."""
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

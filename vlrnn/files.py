"""Reading text and JSON with errors that name file and line; atomic writing; moving folders aside."""

import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from errno import EISDIR
from pathlib import Path
from typing import IO, Any

from vlrnn.errors import UserError, accessing
from vlrnn.processes import LOCKS, lock

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # a Path made of a URL loses the second slash
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def regular_file(path: str | os.PathLike[str]) -> os.stat_result:
    """The status of a regular file.

    Raises:
        UserError: there is none; or it is a folder, a pipe, a socket, a device (which is not opened), or a URL (which
            is not fetched).
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        url = _URL.match(os.fspath(path))
        reason = "a URL, which is not downloaded; download it, and name the file" if url else "no such file"
        raise UserError(f"{path}: {reason}") from None
    except (OSError, ValueError) as fault:  # ValueError: a name with a null byte
        raise UserError(f"{path}: cannot be read: {getattr(fault, 'strerror', None) or fault}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a device")
        raise UserError(f"{path}: {kind}, not a regular file")
    return status


def read_text(path: str | Path) -> str:
    """The UTF-8 text of a file.

    Raises:
        UserError: the file cannot be read, or is not UTF-8.
    """
    try:
        with accessing(path):
            return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise UserError(f"{path}: not UTF-8 text (byte {fault.start}); save the file as UTF-8") from None


DEEPEST = 100
"""Most levels of nesting in a file, so that recursion over its values is safe."""

_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # an escaped surrogate; its other half may follow


def parse_json(text: str, place: str, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Parse JSON; `place` (`file`, or `file:line`) is named in errors, `object_hook` is that of `json.loads`.

    Raises:
        UserError: the text is no JSON (names line and column), an object has a key twice, or it is nested more than
            100 levels deep.
    """

    def made(pairs: list[tuple[str, Any]]) -> Any:
        value = dict(pairs)
        if len(value) < len(pairs):  # json.loads would drop all but the last
            keys = [key for key, _ in pairs]
            raise UserError(f"{place}: the key {max(keys, key=keys.count)!r} occurs twice in one object; keep one")
        return value if object_hook is None else object_hook(value)

    try:
        value = json.JSONDecoder(object_pairs_hook=made).decode(text)
        if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
            raise RecursionError
        if _HALF_CHARACTER.search(text):  # cannot be encoded as UTF-8
            json.dumps(value, ensure_ascii=False, default=repr).encode()
        return value
    except json.JSONDecodeError as fault:
        names_line = place.rpartition(":")[2].isdigit()  # `file:line`
        spot = place if names_line else f"{place}:{fault.lineno}"
        raise UserError(f"{spot}: not JSON: {fault.msg} (column {fault.colno})") from None
    except RecursionError:
        raise UserError(f"{place}: not readable JSON: nested too deeply") from None
    except UnicodeEncodeError as fault:
        half = ascii(fault.object[fault.start])
        raise UserError(f"{place}: has an incomplete character, {half}; repair the text there") from None
    except ValueError:  # Python's limit on digits
        raise UserError(f"{place}: has a number with thousands of digits") from None


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, (dict, list))]:
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
        depth += 1
    return depth


def nested(tree: Any) -> Iterator[Any]:
    """A value of JSON or YAML, and all values within it; of a mapping not the keys."""
    yield tree
    for each in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from nested(each)


def read_json(path: str | Path, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The value in a JSON file; `object_hook` as for `parse_json`.

    Raises:
        UserError: the file cannot be read or holds no JSON; names file and line.
    """
    return parse_json(read_text(path), str(path), object_hook)


def read_json_lines(path: str | Path) -> Iterator[tuple[str, Any]]:
    """Place (`file:line`) and value of each line of a JSON-lines file; blank lines are skipped.

    Raises:
        UserError: the file cannot be read, or a line is no UTF-8 or no JSON.
    """
    path = Path(path)
    with accessing(path), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            place = f"{path}:{number}"
            try:
                text = line.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise UserError(f"{place}: not UTF-8 text; save the file as UTF-8") from None
            if text.strip():
                yield place, parse_json(text, place)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON, replacing the file atomically."""
    with replacing(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20\t\r\n")  # also the full-width signs


def spreadsheet_cell(value: Any) -> Any:
    """The cell of a table for a value: a text that a spreadsheet would run as a formula is prefixed with an
    apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(_FORMULA) else value


def plain_cell(cell: str) -> str:
    """The inverse of `spreadsheet_cell`, for texts."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


_UNFINISHED = ".unfinished"  # suffix of temporary files


@contextmanager
def replacing(path: str | Path, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a temporary file for writing that replaces `path` atomically at the end.

    The folder is created if absent. When the body raises, the old file stays and the temporary one is removed; after a
    kill `clear_unfinished` removes it.

    Raises:
        UserError: the folder or file cannot be written, or the disk is full.
    """
    path = Path(path)
    with accessing(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "a folder has this name")
        handle, unfinished = tempfile.mkstemp(_UNFINISHED, f".{path.name}.", path.parent)
    try:
        with os.fdopen(handle, "wb" if binary else "w", encoding=None if binary else "utf-8") as file:
            lock(handle)  # so that `clear_unfinished` leaves it
            yield file
        os.chmod(unfinished, 0o666 & ~_umask())
        os.replace(unfinished, path)
    except BaseException as fault:
        os.unlink(unfinished)
        refusal = _refusal(fault)
        if refusal is not None and refusal.filename in (None, unfinished):  # of this file, and no other
            raise UserError(f"{path}: cannot be written: {refusal.strerror or refusal}") from None
        raise


def clear_unfinished(folders: Iterable[Path]) -> None:
    """Remove temporary files that `replacing` left in these folders when it was killed; on systems with locks, not
    those that are being written."""
    for folder in folders:
        for path in folder.glob(f".*{_UNFINISHED}") if LOCKS else ():
            if path.is_file() and not path.is_symlink():
                try:
                    handle = os.open(path, os.O_RDONLY)
                except OSError:  # finished meanwhile, or of another user
                    continue
                try:
                    if lock(handle):
                        path.unlink(missing_ok=True)
                finally:
                    os.close(handle)


def aside(folder: Path) -> Path:
    """The target of `move_aside`: `NAME.old-N` in the same folder, with the first free N."""
    real = Path(os.path.realpath(folder))
    number = 1
    while os.path.lexists(found := real.with_name(f"{real.name}.old-{number}")):
        number += 1
    return found if folder.is_symlink() or folder.name != real.name else folder.with_name(found.name)


def is_aside(folder: Path) -> bool:
    """Whether a folder has a name given by `move_aside`."""
    return re.search(r"\.old-\d+$", folder.name) is not None


def move_aside(folder: Path) -> Path:
    """Move a folder to `aside(folder)` and create an empty one in its place; of a symbolic link, the target is moved.

    Raises:
        UserError: it cannot be moved.
    """
    real, target = Path(os.path.realpath(folder)), aside(folder)
    with accessing(folder, f"moved to {target}"):
        real.rename(target)
        real.mkdir()
    return target


def _refusal(fault: BaseException | None) -> OSError | None:
    """The OSError that caused an exception, if any: libraries that write files wrap it in their own exceptions."""
    while fault is not None and not isinstance(fault, (OSError, UserError)):
        fault = fault.__context__
    return fault if isinstance(fault, OSError) else None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

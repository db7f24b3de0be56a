"""Trusted packages: classes outside vlrnn that a checkpoint may name, and their import.

A checkpoint names a class by module and name, and importing a module runs its code. Outside vlrnn, only these modules
are imported for a checkpoint: those that the user trusts (`--trust PACKAGE`), those that the user's recipe names, and
those that installed packages publish by an entry point `vlrnn.parts`.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from vlrnn.errors import UserError
from vlrnn.progress import print_progress


def add_trust(parser: argparse.ArgumentParser, default: Any = None) -> None:
    """Add the flag `--trust` of commands that load a checkpoint; it is a list, empty by default."""
    parser.add_argument(
        "--trust",
        action="append",
        default=[] if default is None else default,
        metavar="PACKAGE",
        help="allow classes of this package in the checkpoint, which runs its code; may be repeated",
    )


def is_foreign(path: str) -> bool:
    """Whether a path can be that of a class outside vlrnn: names and dots, not in Python's standard library."""
    package, *names = path.split(".")
    own = package == "vlrnn" or package in sys.stdlib_module_names
    return bool(names) and not own and all(map(str.isidentifier, (package, *names)))


def find_trusted(path: str, trust: Sequence[str], place: str) -> Any:
    """Import the object of a path if it is trusted; None if its module has no such name.

    Args:
        path: of a class, which `is_foreign`.
        trust: packages (`a` admits `a.C` and `a.b.C`, not `ab.C`), or paths of classes.
        place: the file that names it, for errors.

    Raises:
        UserError: it is not trusted, there is no such module, or the module fails at import.
    """
    package = path.partition(".")[0]
    if not (path in trust or any(path.startswith(f"{each}.") for each in trust) or _is_published(path)):
        raise UserError(
            f"{place}: names the class {path!r}, which is outside vlrnn, and whose code would be run; refused without "
            f"--trust {package} (from Python: trust=[{package!r}])"
        )
    try:
        return import_class(path)
    except ModuleNotFoundError:
        raise UserError(
            f"{place}: names the class {path!r}, whose module cannot be found; install it, or start in its folder"
        ) from None


def import_class(path: str) -> Any:
    """Import the object of a path, also from the current folder if it is not found elsewhere; None if its module has no
    such name.

    Raises:
        ModuleNotFoundError: there is no such module.
        UserError: the module fails at import.
    """
    module, _, name = path.rpartition(".")
    with _current_folder_last():
        try:
            return getattr(importlib.import_module(module), name, None)
        except (Exception, SystemExit) as fault:
            if isinstance(fault, ModuleNotFoundError) and f"{module}.".startswith(f"{fault.name}."):
                raise
            raise UserError(f"{module}: fails at import: {_reason(fault)}") from None


@contextmanager
def _current_folder_last() -> Iterator[None]:
    """Append the current folder to the import path, so that it cannot shadow an installed package."""
    folder = os.getcwd()
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _reason(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {' '.join(str(fault).split())[:200]}"


def checked_trust(trust: Sequence[str]) -> Sequence[str]:
    """The trusted packages, checked to exist.

    Raises:
        UserError: one is not found.
    """
    for package in trust:
        with _current_folder_last():
            try:
                found = package in sys.modules or find_spec(package) is not None
            except Exception:  # raised by its parent at import, or an invalid name
                found = False
        if not found:
            raise UserError(f"--trust {package}: no such package is installed, nor is one in the current folder")
    return trust


def needed_trust(paths: Iterable[str]) -> list[str]:
    """The packages that must be trusted so that a checkpoint may name these classes."""
    return sorted({path.partition(".")[0] for path in paths if is_foreign(path) and not _is_published(path)})


# Entry points of installed packages.


def _is_published(path: str) -> bool:
    """Whether an entry point `vlrnn.parts` of the same package names the class or its module."""
    return any(path == each or path.startswith(f"{each}.") for each in _published_by(path.partition(".")[0]))


@cache
def _published_by(package: str) -> tuple[str, ...]:
    """The paths that the entry points of a package publish; one that fails at import is reported and left out."""
    found = []
    for entry in entry_points(group="vlrnn.parts"):
        if entry.module.partition(".")[0] != package:
            continue
        try:
            part = entry.load()
            found.append(part.__name__ if isinstance(part, ModuleType) else f"{part.__module__}.{part.__qualname__}")
        except (Exception, SystemExit) as fault:
            print_progress(
                f"the plugin {entry.name} ({entry.value}) fails at import, and is left out: {_reason(fault)}"
            )
    return tuple(found)

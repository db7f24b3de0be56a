"""Errors in the user's input, with one-line messages."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from errno import EDQUOT, EFBIG, EIO, ENOSPC, EROFS
from importlib import import_module
from numbers import Integral
from typing import Any, NoReturn

from vlrnn.terminal import printable

_LONGEST = 2000  # characters of a message


def one_line(text: str, longest: int = _LONGEST) -> str:
    """Any text as one printable line; of more than `longest` characters only the beginning and the end."""
    line = printable(text.strip("\r\n"))
    half = longest // 2 - 3
    return line if len(line) <= longest else f"{line[:half]} ... {line[-half:]}"


class UserError(Exception):
    """A mistake in the user's input: a file, a value, an option.

    The message is one line: what is wrong, in which file and item, and what to do. The command line prints it to stderr
    and exits with code 2; from Python it is an ordinary exception.
    """

    def __init__(self, message: str) -> None:
        if message.startswith("Caught "):  # raised again by torch in the main process, the message after a traceback
            message = message.strip().rpartition(f"{__name__}.UserError: ")[2]
        super().__init__(one_line(message))


def or_raise(found: Any) -> Any:
    """A result, or where a UserError stands in its place, that error, which is raised."""
    if isinstance(found, UserError):
        raise found
    return found


def check_names(given: Iterable[str], names: Iterable[str], kind: str) -> None:
    """Raise a UserError for the first name that is not among `names`, with the nearest of these.

    Args:
        given: names of arguments.
        names: those that there are.
        kind: what they are, for the error.
    """
    names = list(names)
    for name in given:
        if name not in names:
            near = did_you_mean(name, names) or f"; there are {', '.join(names)}"
            raise UserError(f"there is no {kind} {name}{near}")


def check_whole(name: str, value: Any, least: int) -> None:
    """Raise a UserError where an argument is no whole number from `least` to 2^63 - 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) < 2**63:
        raise UserError(f"{name} must be a whole number from {least} to 2^63 - 1, not {value!r:.60}")


@contextmanager
def translating_file_errors() -> Iterator[None]:
    """Convert errors of the file system, such as missing permissions or a full disk, to UserErrors that name the file;
    other OSErrors are raised unchanged.

    Raises:
        UserError: an error of the file system.
    """
    try:
        yield
    except OSError as fault:
        if fault.filename is None and fault.errno not in (EDQUOT, EFBIG, EIO, ENOSPC, EROFS):
            raise
        place = "a file" if fault.filename is None else fault.filename
        raise UserError(f"{place}: cannot be read or written: {fault.strerror}") from None


@contextmanager
def accessing(path: Any, verb: str = "read") -> Iterator[None]:
    """Convert any OSError within to a UserError: `PATH: cannot be VERB: ...`."""
    try:
        yield
    except OSError as fault:
        raise UserError(f"{path}: cannot be {verb}: {fault.strerror or fault}") from None


@contextmanager
def refusing(what: str, longest: int = 200, hint: str = "") -> Iterator[None]:
    """Convert any exception within but a UserError to one: `WHAT: ...`. Of broken bytes, and of compilers and tracers,
    exceptions are undocumented.

    Args:
        what: the file or part, and that it cannot be used.
        longest: characters of the exception's message.
        hint: end of the line.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as fault:
        raise UserError(f"{what}: {reason_of(fault, longest)}{hint}") from None


def reason_of(fault: BaseException, longest: int = _LONGEST) -> str:
    """The message of an exception on one line, its beginning; the name of its class where it has none."""
    return (" ".join(str(fault).split()) or type(fault).__name__)[:longest]


def optional(module: str, use: str, extra: str) -> Any:
    """Import a module of an extra of vlrnn.

    Args:
        module: its name.
        use: what needs it, for the error.
        extra: its name.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise UserError(f"{use} needs {module.partition('.')[0]}: pip install 'vlrnn[{extra}]'") from None


def check_least(name: str, value: float | None, least: int = 1) -> None:
    """Raise a UserError for a setting below its least value; None is allowed."""
    if value is not None and value < least:
        raise UserError(f"{name} must be at least {least}, not {value}")


def did_you_mean(word: str, names: Iterable[str], most: int = 1) -> str:
    """The end of a message about a name that does not exist: the nearest of those that do, empty if none is near.

    Names are compared by their last part: `bach_size` is near to `--data.batch_size`; so is one that ends in the word
    (`epochs`, `max_epochs`).

    Args:
        word: the name.
        names: those that exist.
        most: how many are named, the nearest first.
    """

    def ratio(one: str, other: str) -> float:
        return SequenceMatcher(None, one, other.strip("-").lower()).ratio()

    word = word.strip("-").lower()
    wanted = _last_part(word)
    near = []
    for name in names if wanted else ():
        last = _last_part(name)
        if ratio(wanted, last) >= _NEAR or last.endswith(f"_{wanted}"):
            near.append((-ratio(wanted, last), -ratio(word, name), name))
    found = [name for *_, name in sorted(near, key=lambda each: each[:2])[:most]]
    return f"; did you mean {' or '.join(found)}?" if found else ""


_NEAR = 0.65  # the ratio of difflib


def _last_part(name: str) -> str:
    return name.strip("-").rpartition("/")[2].rpartition(".")[2]


class Parser(argparse.ArgumentParser):
    """A parser of command lines whose errors are one line, with the nearest flag to one that does not exist."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        self._given = given[: given.index("--")] if "--" in given else given
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        options = list(_options(self, self._given))
        for flag in (each.partition("=")[0] for each in self._given if each.startswith("--")):
            if not any(option.startswith(flag) for option in options):
                message = f"unrecognized arguments: {flag}{did_you_mean(flag, options)}"
                break
        raise UserError(f"{message}; {self.prog} --help lists all arguments")


def _options(parser: argparse.ArgumentParser, given: Sequence[str]) -> Iterator[str]:
    """The flags of a parser and of its sub-commands that are given."""
    yield from parser._option_string_actions
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name in set(given) & action.choices.keys():
                yield from _options(action.choices[name], given)

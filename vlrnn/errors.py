"""Errors in the user's input, with one-line messages."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, EIO, ENOSPC, EROFS
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


def did_you_mean(word: str, names: Iterable[str], most: int = 1) -> str:
    """The end of a message about a name that does not exist: the nearest of those that do, empty if none is near.

    Names are compared by their last part: `bach_size` is near to `--data.batch_size`. Near is one that differs by an
    edit for each three letters at most, or has the word at its end (`epochs`, `max_epochs`).

    Args:
        word: the name.
        names: those that exist.
        most: how many are named, the nearest first.
    """

    def distance(name: str) -> tuple[bool, int, int]:
        whole = name.strip("-").lower()
        last = _last_part(whole)
        edits = _edits(wanted, last)
        return edits * 3 > max(len(wanted), len(last)) and not last.endswith(f"_{wanted}"), edits, _edits(word, whole)

    word = word.strip("-").lower()
    wanted = _last_part(word)
    distances = {name: distance(name) for name in names if wanted}
    near = sorted((name for name in distances if not distances[name][0]), key=distances.__getitem__)
    return f"; did you mean {' or '.join(near[:most])}?" if near else ""


def _last_part(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[2]


def _edits(one: str, other: str) -> int:
    """The number of letters inserted, deleted, replaced or exchanged with the next that lead from one text to another
    (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one):
        before, last, row = row, before, [i + 1]
        for j, target in enumerate(other):
            row.append(min(before[j + 1] + 1, row[j] + 1, before[j] + (letter != target)))
            if i and j and (letter, one[i - 1]) == (other[j - 1], target):
                row[-1] = min(row[-1], last[j - 1] + 1)
    return row[-1]


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

"""What goes wrong by no fault of ours, as messages for people."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, EIO, ENOSPC, EROFS
from typing import NoReturn

from vlrnn.terminal import printable

_LONGEST = 2000  # characters of a message


def one_line(text: str, longest: int = _LONGEST) -> str:
    """Text from anywhere on a line that people can read: `printable`, and of more than `longest` characters the
    beginning and the end."""
    line = printable(text.strip("\r\n"))
    half = longest // 2 - 3
    return line if len(line) <= longest else f"{line[:half]} ... {line[-half:]}"


class UserError(Exception):
    """A mistake in what the user gave: a file, a value, an option.

    The message is one line that says what is wrong, in which file and item, and what to do about it, whatever the names
    and values in it are. The command line prints it to stderr and exits with code 2; from Python it is an ordinary
    exception.
    """

    def __init__(self, message: str) -> None:
        if message.startswith("Caught "):  # how torch tells of a worker process: with our word behind its traceback
            message = message.strip().rpartition(f"{__name__}.UserError: ")[2]
        super().__init__(one_line(message))


@contextmanager
def translating_file_errors() -> Iterator[None]:
    """What the file system refuses, a folder that may not be written, say, or a disk that is full, becomes a mistake of
    the user's that names the file; other faults of the operating system stay what they are.

    Raises:
        UserError: the file system refused something.
    """
    try:
        yield
    except OSError as fault:
        if fault.filename is None and fault.errno not in (EDQUOT, EFBIG, EIO, ENOSPC, EROFS):
            raise
        place = "a file" if fault.filename is None else fault.filename
        raise UserError(f"{place}: cannot be read or written: {fault.strerror}") from None


class Parser(argparse.ArgumentParser):
    """A parser of command lines that reports a mistake as all others are, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help tells more")

"""Errors in the user's input, with one-line messages."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, EIO, ENOSPC, EROFS
from typing import NoReturn

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


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises a UserError instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help tells more")

"""What goes wrong by no fault of ours, told to people. Knows nothing of what is being done."""

import argparse
from typing import NoReturn


class UserError(Exception):
    """A mistake in what the user gave: a file, a value, an option.

    The message is one line that says what is wrong, in which file and item, and what to do about it. The command line
    prints it to stderr and exits with code 2; from Python it is an ordinary exception.
    """

    def __init__(self, message: str) -> None:
        if message.startswith("Caught "):  # how torch tells of a worker process: with our word behind its traceback
            message = message.strip().rpartition(f"{__name__}.UserError: ")[2]
        super().__init__(message)


class Parser(argparse.ArgumentParser):
    """A parser of command lines that tells a mistake as all others are told, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help tells more")

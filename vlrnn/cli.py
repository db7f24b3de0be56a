"""The command line: runs a command and prints its errors. Each command is a module of vlrnn.commands, imported when it
is run."""

import argparse
import os
import sys
from collections.abc import Sequence

import vlrnn
from vlrnn.commands import COMMANDS, RECIPE_COMMANDS, module_of, run_recipe_command
from vlrnn.errors import Parser, UserError, did_you_mean, translating_file_errors
from vlrnn.progress import quiet_on_request
from vlrnn.terminal import escaping_streams, print_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        the exit code: 0 worked, 2 a mistake of the user's, 130 interrupted. A fault of ours is an exception, which
        Python prints with a traceback and exit code 1.
    """
    with escaping_streams():
        return _main(list(sys.argv[1:] if arguments is None else arguments))


def _main(arguments: Sequence[str]) -> int:
    name = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    try:
        try:
            with quiet_on_request(arguments[1:]) as rest, translating_file_errors():
                return _run(name, rest) if name else _without_command(arguments)
        finally:
            sys.stdout.flush()  # a pipe that is broken shall be found so here, and not when Python ends
    except UserError as fault:
        print_line(f"{f'vlrnn {name}'.strip()}: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has closed the pipe
        # Python flushes once more when it ends; what is left must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(name: str, rest: Sequence[str]) -> int:
    if name in RECIPE_COMMANDS:
        run_recipe_command(name, rest)
        return 0
    command = module_of(name)
    parser = Parser(prog=f"vlrnn {name}", description=COMMANDS[name])
    command.add_arguments(parser)
    return command.run(parser.parse_args(rest)) or 0


def _without_command(arguments: Sequence[str]) -> int:
    if arguments and not arguments[0].startswith("-"):
        name = arguments[0]
        raise UserError(f"there is no command {name}{did_you_mean(name, COMMANDS)}; vlrnn --help lists the commands")
    parser = Parser(
        prog="vlrnn",
        description=vlrnn.__doc__,
        epilog="\n".join(f"  {name:<12}{purpose}" for name, purpose in COMMANDS.items())
        + "\n\nEvery command takes --quiet: no progress and no notes, only results and errors.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="vlrnn COMMAND ...     (vlrnn COMMAND --help lists its arguments)",
    )
    parser.add_argument("--version", action="version", version=f"vlrnn {vlrnn.__version__}")
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help="one of those below")
    parser.parse_args(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())

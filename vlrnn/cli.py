"""The command line: finds the command and prints its errors. Each command is a file of vlrnn/commands, read
only when asked for."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import vlrnn
from vlrnn.errors import Parser, UserError, translating_file_errors
from vlrnn.progress import quiet_on_request
from vlrnn.terminal import escaping_streams, print_line

COMMANDS = {
    "quickstart": "make synthetic data, train, score and report, in minutes",
    "prepare": "make a data set ready to train on, or make a synthetic one",
    "fit": "train a model by a recipe",
    "validate": "score a trained model on the validation split",
    "test": "score a trained model on the test split",
    "cache": "compute the encoder outputs of a data set ahead of training",
    "caption": "caption images",
    "ask": "answer questions about an image",
    "continue": "let a language model go on with a text",
    "score": "score captions or answers in files, made by any model",
    "probe": "ask of finished predictions, or of a model, what scores do not tell",
    "study": "learn something by training several models",
    "report": "make an HTML page of a run",
    "export": "write a trained model as a folder of safetensors and JSON",
    "demo": "show trained models in a page of the browser",
}
_RECIPES = ("fit", "validate", "test", "cache")
_MODULES = {**dict.fromkeys(_RECIPES, "training"), "continue": "continuation"}  # others are called as the command


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
    except BrokenPipeError:  # the reader of our output has seen enough
        # Python flushes once more when it ends; what is left must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(name: str, rest: Sequence[str]) -> int:
    command = importlib.import_module(f"vlrnn.commands.{_MODULES.get(name, name)}")
    if name in _RECIPES:
        command.run(name, rest)
        return 0
    parser = Parser(prog=f"vlrnn {name}", description=COMMANDS[name])
    command.add_arguments(parser)
    return command.run(parser.parse_args(rest)) or 0


def _without_command(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="vlrnn",
        description=vlrnn.__doc__,
        epilog="\n".join(f"  {name:<12}{purpose}" for name, purpose in COMMANDS.items())
        + "\n\nEvery command takes --quiet: nothing of its progress on stderr.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="vlrnn COMMAND ...     (vlrnn COMMAND --help tells more)",
    )
    parser.add_argument("--version", action="version", version=f"vlrnn {vlrnn.__version__}")
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help="one of those below")
    parser.parse_args(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())

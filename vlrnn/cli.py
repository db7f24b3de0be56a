"""The command line: finds the command and tells its errors to people. Each command is a file of vlrnn/commands, read
only when asked for."""

import argparse
import importlib
import sys
from collections.abc import Sequence

import vlrnn
from vlrnn.errors import UserError

COMMANDS = {
    "quickstart": "make synthetic data, train, score and report, in minutes",
    "fit": "train a model by a recipe",
    "validate": "score a trained model on the validation split",
    "test": "score a trained model on the test split",
    "cache": "compute the encoder outputs of a data set ahead of training",
    "caption": "caption images",
    "score": "score captions in files, made by any model",
    "report": "make an HTML page of a run",
    "export": "write a trained model as a folder of safetensors and JSON",
}
_MODULES = {"fit": "training", "validate": "training", "test": "training", "cache": "training"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 worked, 2 a mistake of the user's, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] not in COMMANDS:
        return _without_command(arguments)
    name, rest = arguments[0], arguments[1:]
    command = importlib.import_module(f"vlrnn.commands.{_MODULES.get(name, name)}")
    try:
        if name in _MODULES:
            command.run(name, rest)
        else:
            parser = argparse.ArgumentParser(prog=f"vlrnn {name}", description=COMMANDS[name])
            command.add_arguments(parser)
            command.run(parser.parse_args(rest))
    except UserError as fault:
        print(f"vlrnn {name}: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        return 0
    return 0


def _without_command(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="vlrnn",
        description=vlrnn.__doc__,
        epilog="\n".join(f"  {name:<12}{purpose}" for name, purpose in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="vlrnn COMMAND ...     (vlrnn COMMAND --help tells more)",
    )
    parser.add_argument("--version", action="version", version=f"vlrnn {vlrnn.__version__}")
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help="one of those below")
    parser.parse_args(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())

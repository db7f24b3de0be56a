"""completion: print a script for a shell that completes commands and flags."""

import argparse

from vlrnn.commands import COMMANDS, RECIPE_COMMANDS, module_of
from vlrnn.errors import Parser, optional
from vlrnn.terminal import print_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="vlrnn completion bash > FILE; source FILE")


def run(arguments: argparse.Namespace) -> None:
    """Print the script. It is static: completing imports nothing of vlrnn."""
    shtab = optional("shtab", "completion", "completion")
    print_line(shtab.complete(_parser(), arguments.shell), keep="\n\t")


def _parser() -> argparse.ArgumentParser:
    """The parser of all commands; of those that run a recipe with the flags of captioning."""
    from vlrnn.training.cli import recipe_parser

    parser = Parser(prog="vlrnn")
    commands = parser.add_subparsers()
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose)
        if name in RECIPE_COMMANDS:
            _copy_flags(recipe_parser(name.replace("predict", "test")), command)
        else:
            module_of(name).add_arguments(command)
    _complete_files(parser)
    return parser


def _copy_flags(source: argparse.ArgumentParser, target: argparse.ArgumentParser) -> None:
    """Copy names, help and values of flags; links of one key to another have the form of flags, and are none."""
    for action in source._actions:
        names = [each for each in action.option_strings if each.startswith("-")]
        if names and "--help" not in names and action.help != argparse.SUPPRESS:
            help = (action.help or "").replace("%", "%%")
            if action.nargs == 0:
                target.add_argument(*names, help=help, action="store_true")
            else:
                target.add_argument(*names, help=help, choices=action.choices and list(filter(None, action.choices)))


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Have whatever is no choice completed as a file."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                _complete_files(each)
        elif not action.choices and action.nargs != 0:
            action.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # type: ignore[attr-defined]

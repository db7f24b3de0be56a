"""fit, validate, test, predict, cache: the commands that run a recipe. Their flags are the recipe's keys."""

from collections.abc import Sequence
from pathlib import Path

from vlrnn.terminal import print_line

HELP = Path(__file__).with_name("help")
"""A text for each of the commands: to build their parsers, torch and Lightning are imported, which takes seconds."""


def run(command: str, arguments: Sequence[str]) -> None:
    """Run one of them; with `--help` print its text, with `--help TOPIC` the arguments of a class."""
    for place, each in enumerate(arguments):
        flag, _, topic = each.partition("=")
        if flag in ("-h", "--help"):
            topic = topic or " ".join(arguments[place + 1 : place + 2])
            _print_help(command, "" if topic.startswith("-") else topic, arguments[:place])
            raise SystemExit(0)
    from vlrnn.training.cli import run_recipe
    from vlrnn.training.run_folder import expand_run, print_outcome

    if command in ("validate", "test", "predict"):
        arguments = expand_run(arguments)
    recipe = run_recipe("test" if command == "predict" else command, arguments)
    if command == "fit" and recipe:
        print_outcome(recipe.trainer)


def _print_help(command: str, topic: str, arguments: Sequence[str]) -> None:
    if not topic:
        print_line((HELP / f"{command}.txt").read_text("utf-8").rstrip(), keep="\n")
        return
    from vlrnn.training.help import print_topic

    print_topic(command, topic, arguments)

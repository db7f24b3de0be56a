"""The commands of `vlrnn`, a module each, which is imported when the command is run."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from vlrnn.terminal import print_line

COMMANDS = {
    "quickstart": "make synthetic data, train, score and report, in minutes",
    "prepare": "prepare a data set for training, or make a synthetic one",
    "fit": "train a model from a recipe",
    "validate": "score a trained model on the validation split",
    "test": "score a trained model on the test split",
    "predict": "predict the test split, like test; captions or answers are not needed",
    "cache": "compute the encoder outputs of a data set before training",
    "caption": "caption images",
    "ask": "answer questions about images",
    "continue": "continue a text with a language model",
    "score": "score captions or answers in files, made by any model",
    "probe": "audit predictions or a model: grounding, hallucination, bias, ...",
    "study": "train several models and compare them",
    "report": "make an HTML report of runs",
    "export": "write a trained model as a folder of safetensors and JSON",
    "demo": "show trained models on a web page",
    "completion": "print a script that completes commands and flags in a shell",
}
RECIPE_COMMANDS = ("fit", "validate", "test", "predict", "cache")
_MODULES = {"continue": "continuation"}  # others have the command's name

HELP = Path(__file__).with_name("help")
"""A text for each of the commands: to build their parsers, torch and Lightning are imported, which takes seconds."""


def module_of(name: str) -> ModuleType:
    """The module of a command, but for those of recipes."""
    return importlib.import_module(f"vlrnn.commands.{_MODULES.get(name, name)}")


def run_recipe_command(command: str, arguments: Sequence[str]) -> None:
    """Run fit, validate, test, predict or cache, whose flags are the recipe's keys; with `--help` print its text, with
    `--help TOPIC` the arguments of a class."""
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

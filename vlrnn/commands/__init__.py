"""The commands of `vlrnn`, a module each, which is imported when the command is run."""

import importlib
from types import ModuleType

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
_MODULES = {**dict.fromkeys(RECIPE_COMMANDS, "training"), "continue": "continuation"}  # others have the command's name


def module_of(name: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f"vlrnn.commands.{_MODULES.get(name, name)}")

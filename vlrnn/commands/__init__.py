"""The commands of `vlrnn`, a module each, which is imported when the command is run."""

import importlib
from types import ModuleType

COMMANDS = {
    "quickstart": "make synthetic data, train, score and report, in minutes",
    "prepare": "make a data set ready to train on, or make a synthetic one",
    "fit": "train a model by a recipe",
    "validate": "score a trained model on the validation split",
    "test": "score a trained model on the test split",
    "predict": "predict the test split, as test does; it needs no captions or answers",
    "cache": "compute the encoder outputs of a data set ahead of training",
    "caption": "caption images",
    "ask": "answer questions about images",
    "continue": "let a language model go on with a text",
    "score": "score captions or answers in files, made by any model",
    "probe": "audit finished predictions or a model: grounding, hallucination, bias, ...",
    "study": "compare several models, which it trains",
    "report": "make an HTML page of a run",
    "export": "write a trained model as a folder of safetensors and JSON",
    "demo": "show trained models in a page of the browser",
    "completion": "print a script that completes commands and flags in a shell",
}
RECIPE_COMMANDS = ("fit", "validate", "test", "predict", "cache")
_MODULES = {**dict.fromkeys(RECIPE_COMMANDS, "training"), "continue": "continuation"}  # others have the command's name


def module_of(name: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f"vlrnn.commands.{_MODULES.get(name, name)}")

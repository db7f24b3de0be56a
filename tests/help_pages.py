"""The pages of `vlrnn fit --help` and the like, files in the package, are equal to the parsers. Written with

VLRNN_CONTRACT=write python -m pytest tests/test_contract.py
"""

import argparse
import textwrap
from collections.abc import Iterator
from typing import Any

from jsonargparse import Namespace

from vlrnn.cli import COMMANDS
from vlrnn.training.cli import recipe_parser

WIDTH, COLUMN = 100, 34
USAGE = {
    "fit": "--config RECIPE [--config RECIPE ...] [--KEY VALUE ...]",
    **dict.fromkeys(
        ("validate", "test", "predict"), "RUN [--KEY VALUE ...]\n       {} --config RECIPE [--KEY VALUE ...]"
    ),
    "cache": "--config RECIPE [--KEY VALUE ...]",
}
RECIPES = """\
A recipe is a YAML file, or the name of one of vlrnn (flickr8k, cells/gru). Each of its keys is a flag, too:
{batch_size: 64} of data is --data.batch_size 64. A later recipe changes one before it, and a flag changes the
recipes. --print_config prints the result.
"""
RUN = """\
RUN is a folder made by vlrnn fit. Its config.yaml is the recipe, and its best checkpoint is scored; weight files that
the recipe names are not opened. Results are written there, in splits/.
"""
EXAMPLES = {
    "fit": "vlrnn fit --config flickr8k --config cells/gru --trainer.max_epochs 10",
    "validate": "vlrnn validate runs/flickr8k --model.init_args.generation.num_beams 5",
    "test": "vlrnn test runs/flickr8k --model.init_args.generation.num_beams 5",
    "predict": "vlrnn predict runs/flickr8k --data.root data/mine --trainer.default_root_dir runs/mine",
    "cache": "vlrnn cache --config flickr8k",
}
TOPICS = {
    "trainer": "flags of Lightning's Trainer: --trainer.max_epochs, .devices, .precision, .default_root_dir, ...",
    "model": "arguments of the recipe's task; without a recipe the tasks",
    "data": "arguments of the recipe's data class, if it is another than below",
    "early_stopping": "further flags of Lightning's EarlyStopping",
    "CLASS": "arguments of a class that a recipe names: LSTM, vlrnn.nn.SoftAttention, my_cells.QuietGRU",
}
GROUPS = {
    "": "options",
    "data": "data (of captions and questions)",
    "checkpoint": "checkpoint",
    "early_stopping": "early stopping",
}
NOT_OURS = ("trainer", "model")
OURS = ("monitor", "mode", "patience", "strict")  # of early_stopping


def filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def entry(name: str, purpose: str) -> str:
    """A flag, with its purpose on the same line, or on the next if the flag is long."""
    indent = " " * COLUMN
    lines = filled(purpose, indent).strip()
    return f"  {name:<{COLUMN - 3}} {lines}" if len(name) < COLUMN - 3 else f"  {name}\n{indent}{lines}"


def described(action: argparse.Action) -> str:
    flag = ", ".join(action.option_strings)
    takes = action.nargs != 0 and not isinstance(action, argparse._HelpAction)
    metavar = (action.metavar or action.dest.rpartition(".")[2].upper()).lstrip("\b")
    values = "{" + ",".join(map(str, filter(None, action.choices))) + "}" if action.choices else metavar
    default = action.default
    shown = default not in (None, argparse.SUPPRESS, "", [], False) and not isinstance(default, Namespace)
    purpose = " ".join((action.help or "").split()).rstrip(".")
    return entry(f"{flag} {values}" if takes else flag, f"{purpose} (default: {default})" if shown else purpose)


def entries(parser: Any, group: str) -> Iterator[str]:
    for action in parser._actions:
        flag = action.option_strings[-1] if action.option_strings else ""
        first, dot, name = action.dest.partition(".")
        whole = not dot and first in (*GROUPS, *NOT_OURS)  # --data FILE
        hidden = action.help == argparse.SUPPRESS or "-->" in flag or "help" in flag or whole
        ours = group != "early_stopping" or name in OURS
        if flag and ours and not hidden and group == (first if dot else ""):
            yield described(action)


def page(command: str) -> str:
    parser = recipe_parser("test" if command == "predict" else command)
    usage = USAGE[command].format(f"vlrnn {command}")
    purpose = f"{COMMANDS[command][0].upper()}{COMMANDS[command][1:]}."
    parts = [f"usage: vlrnn {command} {usage}", purpose]
    parts += [filled(text) for text in ([RUN] if "RUN" in usage else []) + [RECIPES]]
    parts.append(f"  {EXAMPLES[command]}")
    parts.append("\n".join(["more help:", *(entry(f"--help {topic}", text) for topic, text in TOPICS.items())]))
    groups = [each for each in GROUPS if command == "fit" or each in ("", "data")]
    parts += ["\n".join([f"{GROUPS[group]}:", *entries(parser, group)]) for group in groups]
    return "\n\n".join(parts) + "\n"

"""The flags of generation and of `--out`, for commands that generate text."""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlrnn.errors import UserError
from vlrnn.progress import print_progress

if TYPE_CHECKING:
    from vlrnn.commands.prediction_file import PredictionFile


def _early_stopping(value: str) -> bool | str:
    """The value as in recipes; it is checked with the other settings."""
    return {"true": True, "false": False}.get(value.lower(), value)


_FLAGS: dict[str, tuple[Callable[[str], Any], str]] = {
    "num_beams": (int, "hypotheses of the beam search; 1 is greedy"),
    "max_new_tokens": (int, "most words, the end counted"),
    "min_new_tokens": (int, "fewest words"),
    "length_penalty": (float, "exponent of the length that sums of log p are divided by"),
    "early_stopping": (_early_stopping, "when a beam search stops: true, false or never, see GenerationConfig"),
    "no_repeat_ngram_size": (int, "no n-gram of this size twice"),
    "temperature": (float, "draw at random, with this temperature, instead of searching"),
    "top_k": (int, "when drawing: the k likeliest words"),
    "top_p": (float, "when drawing: the likeliest words that make up this probability"),
    "num_return_sequences": (int, "how many to give, best first"),
}


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """Add the flags, and the seed of random drawing."""
    parser.add_argument("--seed", type=int, default=0, help="of random drawing")
    group = parser.add_argument_group("decoding", "by default as the model was trained with")
    for name, (kind, purpose) in _FLAGS.items():
        group.add_argument(f"--{name}", type=kind, help=purpose)


def chosen(arguments: argparse.Namespace) -> dict[str, Any]:
    """The flags that are given, by their names in GenerationConfig."""
    return {name: value for name in _FLAGS if (value := getattr(arguments, name)) is not None}


def add_out(parser: argparse.ArgumentParser, columns: str) -> None:
    """Add `--out`, whose `.csv` has these columns, `--resume` and `--overwrite`."""
    parser.add_argument("--out", metavar="FILE", help=f"write .csv ({columns}), .json or .jsonl")
    before = parser.add_mutually_exclusive_group()
    before.add_argument("--resume", action="store_true", help="go on with --out where a run was interrupted")
    before.add_argument("--overwrite", action="store_true", help="replace --out where it is there")


def open_out(arguments: argparse.Namespace) -> "AbstractContextManager[PredictionFile | None]":
    """The file of these flags; a context of None without `--out`.

    Raises:
        UserError: as of `PredictionFile`, or a flag is given that has no meaning without `--out`.
    """
    if not arguments.out:
        if arguments.resume or arguments.overwrite:
            raise UserError("--resume and --overwrite are of --out FILE; give it, too")
        return nullcontext()
    from vlrnn.commands.prediction_file import PredictionFile

    file = PredictionFile(Path(arguments.out), resume=arguments.resume, overwrite=arguments.overwrite)
    if file.is_finished:
        print_progress(f"{file.path}: was finished before, and nothing is done; --overwrite makes it anew")
    return file

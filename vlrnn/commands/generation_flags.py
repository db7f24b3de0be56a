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
    "max_new_tokens": (int, "most words, including the end"),
    "min_new_tokens": (int, "fewest words"),
    "length_penalty": (float, "a score is the sum of log p, divided by length ^ this"),
    "early_stopping": (_early_stopping, "when a beam search stops: true, false or never, see GenerationConfig"),
    "no_repeat_ngram_size": (int, "n-grams of this size occur at most once"),
    "temperature": (float, "sample with this temperature instead of searching"),
    "top_k": (int, "sampling: from the k most probable words"),
    "top_p": (float, "sampling: from the most probable words, up to this total probability"),
    "num_return_sequences": (int, "number of results, best first"),
}


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """Add the flags, and the seed of random drawing."""
    parser.add_argument("--seed", type=int, default=0, help="of random drawing")
    group = parser.add_argument_group("decoding", "by default the settings of the model")
    for name, (kind, purpose) in _FLAGS.items():
        group.add_argument(f"--{name}", type=kind, help=purpose)


def chosen(arguments: argparse.Namespace) -> dict[str, Any]:
    """The flags that are given, by their names in GenerationConfig."""
    return {name: value for name in _FLAGS if (value := getattr(arguments, name)) is not None}


def add_out(parser: argparse.ArgumentParser, columns: str) -> None:
    """Add `--out`, whose `.csv` has these columns, `--resume` and `--overwrite`."""
    parser.add_argument("--out", metavar="FILE", help=f"write .csv ({columns}), .json or .jsonl")
    before = parser.add_mutually_exclusive_group()
    before.add_argument("--resume", action="store_true", help="continue an interrupted --out")
    before.add_argument("--overwrite", action="store_true", help="replace an existing --out")


def open_out(arguments: argparse.Namespace) -> "AbstractContextManager[PredictionFile | None]":
    """The file of these flags; a context of None without `--out`.

    Raises:
        UserError: as of `PredictionFile`, or a flag is given that has no meaning without `--out`.
    """
    if not arguments.out:
        if arguments.resume or arguments.overwrite:
            raise UserError("--resume and --overwrite need --out FILE")
        return nullcontext()
    from vlrnn.commands.prediction_file import PredictionFile

    file = PredictionFile(Path(arguments.out), resume=arguments.resume, overwrite=arguments.overwrite)
    if file.is_finished:
        print_progress(f"{file.path}: is complete, and nothing is done; --overwrite makes it again")
    return file

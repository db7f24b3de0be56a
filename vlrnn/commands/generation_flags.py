"""Flags and output of the commands that generate text: the model, the settings of generation, `--out`."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlrnn.errors import UserError
from vlrnn.progress import print_progress, progress
from vlrnn.terminal import print_line
from vlrnn.trust import add_trust

if TYPE_CHECKING:
    from vlrnn.commands.prediction_file import Key, PredictionFile
    from vlrnn.data.records import Prediction


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


def add_model(parser: argparse.ArgumentParser, printed: str) -> None:
    """Add the flags of a model and of the form of what is printed."""
    parser.add_argument("--checkpoint", required=True, help="a .ckpt file, or a folder written by vlrnn export")
    parser.add_argument("--json", action="store_true", help=f"print a JSON object{printed}")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; by default a GPU if available")
    add_trust(parser)


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


_VERBS = {"caption": "caption", "ask": "answer"}


def put_out(
    command: str,
    results: "Iterable[tuple[Key, Prediction | UserError]]",
    wanted: "Sequence[Key]",
    unit: str,
    file: "PredictionFile | None",
    show: "Callable[[Prediction], None]",
) -> "tuple[list[Key], Prediction | None]":
    """Show results as they come, keep them in a file, and report errors on stderr.

    Args:
        command: that makes them.
        results: the key of each image or question, and what becomes of it.
        wanted: the keys in the order of the file, with those that it has already.
        unit: what has a result: `images`.
        file: of `open_out`; begun.
        show: prints a result.

    Returns:
        the keys of errors, and the last result.
    """
    missed: list[Key] = []
    last, done = None, len(file.found) if file else 0
    quiet = nullcontext(lambda _: None) if sys.stdout.isatty() else None  # there the results themselves are progress
    with quiet or progress(f"{_VERBS[command]}ing", len(wanted), unit, done) as advance:
        for key, result in results:
            if isinstance(result, UserError):
                print_line(f"vlrnn {command}: {result}", file=sys.stderr)
                missed.append(key)
            else:
                if file:
                    file.add(key, result)
                show(result)
                last = result
            advance(1)
    if file:
        file.finish(wanted)
    return missed, last

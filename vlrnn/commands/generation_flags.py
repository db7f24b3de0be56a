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


def add_model(parser: argparse.ArgumentParser, printed: str) -> None:
    """Add the flags of a model and of the form of what is printed."""
    parser.add_argument("--checkpoint", required=True, help="a .ckpt file, or a folder that vlrnn export wrote")
    parser.add_argument("--json", action="store_true", help=f"print a JSON object{printed}")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; by default a GPU where there is one")
    add_trust(parser)


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

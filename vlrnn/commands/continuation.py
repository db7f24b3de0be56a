"""continue: continue a text with a language model."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vlrnn.commands.generation_flags import add_decoding, add_model, chosen
from vlrnn.errors import UserError
from vlrnn.files import replacing, write_json
from vlrnn.progress import print_progress
from vlrnn.terminal import print_json, print_line

if TYPE_CHECKING:
    from vlrnn.data.records import Prediction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="the beginning of the text; may be ''")
    add_model(parser, "")
    parser.add_argument("--out", metavar="FILE", help="write .txt (the text and its continuation), .json or .jsonl")
    add_decoding(parser)


def run(arguments: argparse.Namespace) -> None:
    """Continue the text; print what is outside the vocabulary to stderr."""
    out = Path(arguments.out) if arguments.out else None
    if out and out.suffix not in (".txt", ".json", ".jsonl"):
        raise UserError(f"--out {out}: end the name in .txt, .json or .jsonl")
    from vlrnn.inference.predictor import Predictor

    predictor = Predictor.load(arguments.checkpoint, arguments.device, trust=arguments.trust)
    if strange := predictor.unknown_units(arguments.text):
        what = ", ".join(map(repr, strange))
        print_progress(f"vlrnn continue: not in the training text, and one unknown token for the model: {what}")
    prediction = predictor.continue_text(arguments.text, seed=arguments.seed, **chosen(arguments))
    texts = [arguments.text + text for text in (prediction.text, *(each["text"] for each in prediction.alternatives))]
    if out:
        _write(out, prediction, texts[0])
    if arguments.json:
        print_json(asdict(prediction))
    else:
        print_line("\n\n".join(texts), keep="\n\t")


def _write(path: Path, prediction: "Prediction", text: str) -> None:
    from vlrnn.data.records import write_records

    if path.suffix == ".jsonl":
        write_records(path, [prediction])
    elif path.suffix == ".json":
        write_json(path, asdict(prediction))
    else:
        with replacing(path) as file:
            file.write(text + "\n")

"""continue: let a language model go on with a text."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vlrnn.commands.decoding import add_decoding, chosen
from vlrnn.errors import UserError
from vlrnn.files import replacing, write_json
from vlrnn.terminal import print_json, print_line
from vlrnn.trust import add_trust

if TYPE_CHECKING:
    from vlrnn.data.records import Prediction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="what the model hears first; '' is nothing")
    parser.add_argument("--checkpoint", required=True, help="a .ckpt file, or a folder that vlrnn export wrote")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.add_argument("--out", metavar="FILE", help="write .txt (the text and how it goes on), .json or .jsonl")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; by default a GPU where there is one")
    add_trust(parser)
    add_decoding(parser)


def run(arguments: argparse.Namespace) -> None:
    """Go on with the text; what the model cannot read in it is told of."""
    out = Path(arguments.out) if arguments.out else None
    if out and out.suffix not in (".txt", ".json", ".jsonl"):
        raise UserError(f"--out {out}: end the name in .txt, .json or .jsonl")
    from vlrnn.inference.predictor import Predictor

    predictor = Predictor.load(arguments.checkpoint, arguments.device, trust=arguments.trust)
    if strange := predictor.unknown_units(arguments.text):
        told = ", ".join(map(repr, strange))
        told = f"what training never showed, and is all alike to the model: {told}"
        print_line(f"vlrnn continue: {told}", file=sys.stderr)
    said = predictor.continue_text(arguments.text, seed=arguments.seed, **chosen(arguments))
    texts = [arguments.text + text for text in (said.text, *(each["text"] for each in said.alternatives))]
    if out:
        _write(out, said, texts[0])
    if arguments.json:
        print_json(asdict(said))
    else:
        print_line("\n\n".join(texts), keep="\n\t")


def _write(path: Path, said: "Prediction", text: str) -> None:
    from vlrnn.data.records import write_records

    if path.suffix == ".jsonl":
        write_records(path, [said])
    elif path.suffix == ".json":
        write_json(path, asdict(said))
    else:
        with replacing(path) as file:
            file.write(text + "\n")

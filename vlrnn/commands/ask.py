"""ask: answer questions about an image."""

import argparse
import sys
from dataclasses import asdict

from vlrnn.terminal import percent, print_json, print_line
from vlrnn.trust import add_trust


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("questions", nargs="+", metavar="QUESTION")
    parser.add_argument("--checkpoint", required=True, help="a .ckpt file, or a folder that vlrnn export wrote")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each question, one per line")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; by default a GPU where there is one")
    add_trust(parser)


def run(arguments: argparse.Namespace) -> None:
    """Answer all questions; print words outside the vocabulary to stderr."""
    from vlrnn.inference.predictor import Predictor

    predictor = Predictor.load(arguments.checkpoint, arguments.device, trust=arguments.trust)
    found = predictor.answers(arguments.image, arguments.questions)
    for question, answer in zip(arguments.questions, found, strict=True):
        unknown = predictor.unknown_words(question)
        if arguments.json:
            print_json({**asdict(answer), "question": question, "unknown_words": unknown})
            continue
        if unknown:
            line = f"{question}: words that the model does not know: {', '.join(unknown)}"
            print_line(f"vlrnn ask: {line}", file=sys.stderr)
        apart = ", of each answer by itself: they need not add up to 100 %" if answer.score_name == "sigmoid" else ""
        print_line(f"{question}: {answer.text}")
        print_line(f"  {answer.score_name}{apart}")
        for each in ({"text": answer.text, "score": answer.score}, *answer.alternatives):
            print_line(f"  {percent(each['score']):>8}  {each['text']}")

"""gender: do captions name the right gender, and do they err equally about women and men?"""

import argparse

from vlrnn.commands.run_predictions import add_predictions
from vlrnn.probes.finding import Finding

PURPOSE = "do captions name the right gender, and do they err equally about women and men?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_predictions(parser, "predictions.jsonl, or COCO results")
    parser.add_argument("--women", required=True, metavar="IDS", help="the ids of images of women, one on a line")
    parser.add_argument("--men", required=True, metavar="IDS", help="the same of men")
    parser.add_argument("--references", metavar="REF", help="human captions, for a row of their own")
    parser.add_argument("--words_women", metavar="FILE", help="other words that name a woman, one on a line")
    parser.add_argument("--words_men", metavar="FILE", help="other words that name a man")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.probes.gender import probe_gender
    from vlrnn.probes.gender_words import GenderWords

    return probe_gender(
        arguments.predictions,
        arguments.women,
        arguments.men,
        words=GenderWords.load(arguments.words_women, arguments.words_men),
        references=arguments.references,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )

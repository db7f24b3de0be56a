"""scene_truth: are captions of synthetic scenes true?"""

import argparse

from vlrnn.commands.run_predictions import add_predictions
from vlrnn.probes.finding import Finding

PURPOSE = "are captions of synthetic scenes true, judged against the scenes themselves?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_predictions(parser, "predictions.jsonl, or COCO results")
    parser.add_argument("--examples", required=True, metavar="REF", help="the prepared .jsonl that they are about")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.probes.scene_truth import probe_scene_truth

    return probe_scene_truth(
        arguments.predictions, arguments.examples, resamples=arguments.resamples, seed=arguments.seed
    )

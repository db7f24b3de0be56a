"""calibration: confidence of VQA models against their accuracy."""

import argparse

from vlrnn.commands.run_predictions import add_predictions
from vlrnn.probes.finding import Finding

PURPOSE = "is a model that answers questions as often right as it is sure, and surer where it is right?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # numpy is not wanted for --help.
    from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL, PROTOCOLS

    add = parser.add_argument
    add_predictions(parser, "predictions.jsonl, with the score of each answer")
    add("--references", required=True, metavar="REF", help="prepared .jsonl, or official VQA annotations")
    add("--val", metavar="PRED", help="predictions of a validation split, to fit a temperature on; of a run folder val")
    add("--val_references", metavar="REF", help="the questions of the validation split")
    add("--protocol", choices=list(PROTOCOLS), default=DEFAULT_PROTOCOL, help=f"default {DEFAULT_PROTOCOL}")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.probes.calibration import probe_calibration

    return probe_calibration(
        arguments.predictions,
        arguments.references,
        val=arguments.val,
        val_references=arguments.val_references,
        protocol=arguments.protocol,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )

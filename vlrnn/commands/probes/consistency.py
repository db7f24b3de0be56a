"""consistency: does a model contradict itself, or another?"""

import argparse

from vlrnn.commands.run_predictions import add_predictions
from vlrnn.probes.finding import Finding

PURPOSE = "does a model contradict itself over paraphrases, inverses and pairs, or another model?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # numpy is not wanted for --help.
    from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL, PROTOCOLS

    add = parser.add_argument
    add_predictions(parser, "predictions.jsonl, or VQA results")
    add("--references", required=True, metavar="REF", help="prepared .jsonl, or official VQA annotations")
    add("--other", metavar="PRED", help="another model's answers: the other head's, say")
    add("--groups", metavar="FILE", help="paraphrases: a JSON list of lists of question ids")
    add("--protocol", choices=list(PROTOCOLS), default=DEFAULT_PROTOCOL, help=f"default {DEFAULT_PROTOCOL}")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.probes.consistency import probe_consistency

    return probe_consistency(
        arguments.predictions,
        arguments.references,
        other=arguments.other,
        groups=arguments.groups,
        protocol=arguments.protocol,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )

"""priors: are test's answers as train's, and who lives off that?"""

import argparse

from vlrnn.commands.run_predictions import add_predictions
from vlrnn.probes.finding import Finding

PURPOSE = "are the answers of test as those of train, and is a model right about the rare ones?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # numpy is not wanted for --help.
    from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL, PROTOCOLS

    add = parser.add_argument
    add("--train", required=True, metavar="REF", help="prepared .jsonl, or official VQA annotations")
    add("--test", required=True, metavar="REF", help="the same of test")
    add_predictions(parser, "answers to test: predictions.jsonl, or VQA results", required=False)
    add("--alpha", type=float, default=0.2, help="the tail has at most 1 + ALPHA times the mean count; %(default)s")
    add("--protocol", choices=list(PROTOCOLS), default=DEFAULT_PROTOCOL, help=f"default {DEFAULT_PROTOCOL}")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.probes.priors import probe_priors

    return probe_priors(
        arguments.train,
        arguments.test,
        predictions=arguments.predictions,
        alpha=arguments.alpha,
        protocol=arguments.protocol,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )

"""grounding: scores without the image, and without the question."""

import argparse

from vlrnn.probes.finding import Finding
from vlrnn.trust import add_trust

PURPOSE = "what does a model lose without its image, or without its question?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help="a .ckpt file, or a folder that vlrnn export wrote")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="a prepared data set")
    parser.add_argument("--split", default="test", help="of the data (default test)")
    parser.add_argument(
        "--baseline",
        action="extend",
        nargs="+",
        default=[],
        metavar="RUN",
        help="folders of runs that were tested on the same split",
    )
    parser.add_argument("--cache", metavar="FOLDER", help="for encoder outputs; by default one that is gone in the end")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; by default a GPU where there is one")
    add_trust(parser)


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.inference.predictor import Predictor
    from vlrnn.probes.model.grounding import grounding

    return grounding(
        Predictor.load(arguments.checkpoint, arguments.device, trust=arguments.trust),
        arguments.data,
        arguments.split,
        baselines=arguments.baseline,
        cache=arguments.cache,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )

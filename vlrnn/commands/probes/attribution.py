"""attribution: are hallucinated objects predicted from the image or the preceding words?"""

import argparse

from vlrnn.probes.finding import Finding
from vlrnn.trust import add_trust

PURPOSE = "are hallucinated objects predicted from the image or the preceding words?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help="of a captioner: a .ckpt file, or what vlrnn export wrote")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="a prepared data set with objects")
    parser.add_argument("--split", default="test", help="of the data (default test)")
    parser.add_argument("--synonyms", metavar="FILE", help="lines of an object and, behind commas, what it is called")
    parser.add_argument("--cache", metavar="FOLDER", help="for encoder outputs; by default one that is gone in the end")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; by default a GPU where there is one")
    add_trust(parser)


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.inference.predictor import Predictor
    from vlrnn.probes.model.attribution import attribution
    from vlrnn.probes.object_mentions import PhraseTable, object_names, phrases

    table = PhraseTable(phrases(object_names(arguments.data), arguments.synonyms))
    return attribution(
        Predictor.load(arguments.checkpoint, arguments.device, trust=arguments.trust),
        arguments.data,
        arguments.split,
        find=table.find,
        cache=arguments.cache,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )

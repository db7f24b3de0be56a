"""chair: what do captions make up?"""

import argparse

from vlrnn.commands.run_predictions import add_predictions
from vlrnn.probes.finding import Finding

PURPOSE = "how much of what captions mention is not in the picture?"
MODES = ("fixed", "chair-2018")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_predictions(parser, "predictions.jsonl, or COCO results")
    parser.add_argument(
        "--objects",
        required=True,
        metavar="OBJECTS",
        help='what is in which image: {"image id": [names]}, a prepared .jsonl, or COCO\'s instances',
    )
    parser.add_argument(
        "--references", metavar="REF", help="human captions; to COCO's instances they add what they name"
    )
    parser.add_argument("--training", metavar="OBJECTS", help="what is in which training image, for correlations")
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help="how captions are read; default %(default)s")
    add_tables(parser)


def add_tables(parser: argparse.ArgumentParser) -> None:
    """What else objects are called."""
    parser.add_argument("--synonyms", metavar="FILE", help="a line for each object: its name, its synonyms, by commas")
    parser.add_argument("--double_words", metavar="FILE", help='{"two words": "what they are called"}')


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.probes.chair import probe_chair

    return probe_chair(
        arguments.predictions,
        arguments.objects,
        references=arguments.references,
        training=arguments.training,
        synonyms=arguments.synonyms,
        double_words=arguments.double_words,
        mode=arguments.mode,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )

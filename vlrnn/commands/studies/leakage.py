"""leakage: how well can who is in an image be guessed from captions whose gender words are masked?"""

import argparse

from vlrnn.commands.run_predictions import add_predictions
from vlrnn.errors import UserError
from vlrnn.probes.finding import Finding

PURPOSE = "how well can who is in an image be guessed from captions whose gender words are masked?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_predictions(parser, "predictions.jsonl, or COCO results")
    parser.add_argument("--references", required=True, metavar="REF", help="human captions of the same images")
    parser.add_argument("--women", metavar="IDS", help="the ids of images of women, one on a line; else REF tells")
    parser.add_argument("--men", metavar="IDS", help="the same of men")
    parser.add_argument("--words_women", metavar="FILE", help="other words that name a woman, one on a line")
    parser.add_argument("--words_men", metavar="FILE", help="other words that name a man")
    parser.add_argument("--seeds", type=int, default=5, help="how many times attackers are trained (default 5)")


def run(arguments: argparse.Namespace) -> Finding:
    if arguments.seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {arguments.seeds}")
    from vlrnn.probes.gender_words import GenderWords
    from vlrnn.studies.leakage import leakage
    from vlrnn.studies.masked_captions import read_masked

    files = {name: getattr(arguments, name) for name in ("women", "men")}
    words = GenderWords.load(arguments.words_women, arguments.words_men)
    images, notes = read_masked(arguments.predictions, arguments.references, words=words, **files)
    return leakage(
        arguments.out,
        images,
        seeds=arguments.seeds,
        settings={"predictions": arguments.predictions, "references": arguments.references, **files},
        notes=notes,
        resamples=arguments.resamples,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
    )

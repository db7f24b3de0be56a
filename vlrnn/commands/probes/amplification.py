"""amplification: does a model make a bias of its data stronger?"""

import argparse

from vlrnn.commands.run_predictions import add_predictions
from vlrnn.errors import UserError
from vlrnn.probes.finding import Finding

PURPOSE = "does a model make stronger what goes together in its data, women and handbags, say?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--table", metavar="FILE", help="images with their true and predicted attributes and tasks (see docs/probes.md)"
    )
    add_predictions(parser, "instead of a table: captions, predictions.jsonl or COCO results", required=False)
    add("--objects", metavar="FILE", help="with --predictions: what is in the images, {image id: [names]}")
    add(
        "--synonyms",
        metavar="FILE",
        help="what objects are called: an object and, behind commas, its synonyms on a line",
    )
    add("--references", metavar="REF", help="human captions: a row of their own, and who is in an image, without lists")
    add("--women", metavar="IDS", help="the ids of images of women, one on a line")
    add("--men", metavar="IDS", help="the same of men")
    add("--training", metavar="FILE", help="a table of the training images: what bias there is is learnt from it")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.probes.amplification import probe_amplification
    from vlrnn.probes.labels import CaptionLabels, read_caption_labels, read_labels

    if (arguments.table is None) == (arguments.predictions is None):
        raise UserError("give either --table, or --predictions with --objects")
    if arguments.table:
        labels = CaptionLabels(read_labels(arguments.table), {}, [])
    elif arguments.objects is None:
        raise UserError("--predictions needs --objects, a file {image id: [names]}")
    else:
        labels = read_caption_labels(
            arguments.predictions,
            arguments.objects,
            references=arguments.references,
            women=arguments.women,
            men=arguments.men,
            synonyms=arguments.synonyms,
        )
    training = None if arguments.training is None else read_labels(arguments.training, predicted=False)
    files = ("table", "predictions", "objects", "synonyms", "references", "women", "men", "training")
    return probe_amplification(
        labels.images,
        training,
        human=labels.human,
        settings={name: getattr(arguments, name) for name in files},
        notes=labels.notes,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )

"""`vlrnn score`: scores of finished predictions, made by any model. Reads files; loads no model."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vlrnn.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from vlrnn.metrics.evaluation import Evaluation

_SHARES = ("distinct_captions", "novel", "empty", "ends_badly", "repeated_word", "repeated_trigram")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="captions")
    captions = kinds.add_parser(
        "captions",
        help="BLEU, ROUGE-L, CIDEr-D, METEOR, SPICE, with confidence intervals, and the health of captions",
        description="Score captions as the official COCO caption scorer does, with confidence intervals.",
    )
    _add_caption_arguments(captions)


def _add_caption_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--references",
        required=True,
        metavar="REF",
        help="prepared .jsonl, COCO captions_*.json, or Karpathy's JSON",
    )
    add(
        "--predictions",
        required=True,
        metavar="PRED",
        help="predictions.jsonl, or COCO results (image_id, caption)",
    )
    add("--compare", metavar="PRED2", help="predictions of another system, to be compared in pairs")
    add("--split", help="the split of Karpathy's JSON")
    add(
        "--missing",
        choices=("error", "skip", "empty"),
        default="error",
        help="ids that are missing, unknown or doubled: refuse (default), score what has a prediction, "
        "or score a missing one as an empty caption",
    )
    add(
        "--training",
        metavar="REF",
        help="the captions trained on, to count which predictions are new (of Karpathy's: train)",
    )
    add(
        "--document_frequency",
        metavar="REF",
        help="CIDEr's document frequencies from this corpus, not from the references",
    )
    add(
        "--java",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="METEOR and SPICE, where they are installed",
    )
    add("--resamples", type=int, default=1000, help="bootstrap samples (default 1000)")
    add("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    add("--out", type=Path, metavar="FILE", help="write all of it as JSON")
    add("--per_image", type=Path, metavar="FILE", help="write the scores of each image as JSON lines")


def run(arguments: argparse.Namespace) -> None:
    if arguments.resamples < 1:
        raise UserError(f"--resamples must be at least 1, not {arguments.resamples}")
    # numpy is not wanted for --help.
    from vlrnn.metrics.evaluation import evaluate_captions

    evaluation = evaluate_captions(
        references=arguments.references,
        predictions=arguments.predictions,
        other=arguments.compare,
        split=arguments.split,
        missing=arguments.missing,
        training=arguments.training,
        document_frequency=arguments.document_frequency,
        java=arguments.java,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )
    if arguments.out:
        evaluation.write(arguments.out)
    if arguments.per_image:
        evaluation.write_per_image(arguments.per_image)
    _show(evaluation)


def _show(evaluation: "Evaluation") -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    for note in evaluation.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    console.print(_score_table(evaluation))
    if evaluation.comparison:
        console.print(_comparison_table(evaluation))
    console.print(_health_table(evaluation))


def _score_table(evaluation: "Evaluation") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from vlrnn.metrics.evaluation import ORDER

    settings = evaluation.settings
    table = Table(title=f"{settings['n']} images", title_justify="left")
    table.add_column("score")
    table.add_column("value", justify="right")
    table.add_column("95 % interval")
    for name in ORDER:
        if name in evaluation.scores:
            score = evaluation.scores[name]
            table.add_row(name, f"{score['value']:.4f}", f"{score['low']:.4f} to {score['high']:.4f}")
        elif name in evaluation.not_computed:
            table.add_row(name, "", f"not computed: {escape(evaluation.not_computed[name])}")
    return table


def _comparison_table(evaluation: "Evaluation") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"less {escape(evaluation.settings['compared_with'])}", title_justify="left")
    table.add_column("score")
    table.add_column("difference", justify="right")
    table.add_column("95 % interval")
    table.add_column("p", justify="right")
    for name, score in evaluation.comparison.items():
        between = f"{score['low']:+.4f} to {score['high']:+.4f}"
        table.add_row(name, f"{score['value']:+.4f}", between, f"{score['p']:.3f}")
    return table


def _health_table(evaluation: "Evaluation") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from vlrnn.metrics.evaluation import ORDER

    table = Table(title="health", title_justify="left")
    table.add_column("measure")
    table.add_column("value")
    for name, value in evaluation.health.items():
        if name in _SHARES:
            table.add_row(name, f"{100 * value:.1f} %")
        else:
            table.add_row(name, f"{value:.4f}" if name.startswith(("distinct", "mBLEU")) else f"{value:g}")
    for name, reason in evaluation.not_computed.items():
        if name not in ORDER:
            table.add_row(name, f"not computed: {escape(reason)}")
    return table

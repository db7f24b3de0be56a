"""`vlrnn score`: scores of finished predictions, made by any model. Reads files; loads no model."""

import argparse
import gc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlrnn.errors import UserError, one_line
from vlrnn.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from vlrnn.metrics.caption_evaluation import Evaluation

_SHARES = ("distinct_captions", "novel", "empty", "ends_badly", "repeated_word", "repeated_trigram")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="captions|vqa")
    captions = kinds.add_parser(
        "captions",
        help="BLEU, ROUGE-L, CIDEr-D, METEOR, SPICE, with confidence intervals, and the health of captions",
        description="Score captions as the official COCO caption scorer does, with confidence intervals.",
    )
    _add_caption_arguments(captions)
    captions.set_defaults(score=_score_captions)
    vqa = kinds.add_parser(
        "vqa",
        help="VQA accuracy, over all and per type, exact match and WUPS, with confidence intervals",
        description="Score answers as the official VQA evaluation does, with confidence intervals.",
    )
    _add_answer_arguments(vqa)
    vqa.set_defaults(score=_score_answers)


def _add_caption_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--references",
        required=True,
        metavar="REF",
        help="prepared .jsonl, captions of COCO or VizWiz, Karpathy's JSON, or image id -> captions",
    )
    add(
        "--predictions",
        required=True,
        metavar="PRED",
        help="predictions.jsonl, a file of vlrnn caption --out, or COCO results (image_id, caption)",
    )
    add("--split", help="the split of Karpathy's JSON")
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
        "--tokenizer",
        choices=("words", "characters"),
        default="words",
        help="what is compared; characters for scripts without spaces between words; default words",
    )
    add(
        "--java",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="METEOR and SPICE, if they are installed",
    )
    _add_common_arguments(parser)
    add("--per_image", type=Path, metavar="FILE", help="write the scores of each image as JSON lines")


def _add_answer_arguments(parser: argparse.ArgumentParser) -> None:
    # numpy is not wanted for --help.
    from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL, PROTOCOLS

    add = parser.add_argument
    add(
        "--references",
        required=True,
        metavar="REF",
        help="prepared .jsonl, or official annotations of VQA, VizWiz, TextVQA or GQA; with --official also questions",
    )
    add(
        "--predictions",
        required=True,
        metavar="PRED",
        help="predictions.jsonl, or official results (question_id, answer)",
    )
    add("--questions", metavar="FILE", help="the official questions, to be checked against the annotations")
    add("--protocol", choices=list(PROTOCOLS), default=DEFAULT_PROTOCOL, help=f"default {DEFAULT_PROTOCOL}")
    add("--wordnet", metavar="FOLDER", help="WordNet's database files, for WUPS")
    add(
        "--official",
        type=Path,
        metavar="FILE",
        help="write PRED in the format of the challenge server; REF needs no answers",
    )
    _add_common_arguments(parser)
    add("--per_question", type=Path, metavar="FILE", help="write the scores of each question as JSON lines")


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--compare", metavar="PRED2", help="predictions of another system, for a paired comparison")
    add(
        "--missing",
        choices=("error", "skip", "empty"),
        default="error",
        help="ids that are missing, unknown or duplicate: refuse (default), score what has a prediction, "
        "or score a missing one as an empty text",
    )
    add("--resamples", type=int, default=1000, help="bootstrap samples (default 1000)")
    add("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    add("--out", type=Path, metavar="FILE", help="write everything as JSON")


def run(arguments: argparse.Namespace) -> None:
    if arguments.resamples < 1:
        raise UserError(f"--resamples must be at least 1, not {arguments.resamples}")
    # The bootstrap's products are small: with other work on the machine, threads would mostly wait for each other. This
    # is read when numpy is loaded, which a command line has not done yet.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Records hold no cycles, and to look for some among millions of them again and again takes a sixth of the time.
    gc.disable()
    try:
        arguments.score(arguments)
    finally:
        gc.enable()


def _score_captions(arguments: argparse.Namespace) -> None:
    # numpy is not wanted for --help.
    from vlrnn.metrics.caption_evaluation import evaluate_captions
    from vlrnn.text.tokenizers import caption_tokenizer

    evaluation = evaluate_captions(
        references=arguments.references,
        predictions=arguments.predictions,
        other=arguments.compare,
        split=arguments.split,
        missing=arguments.missing,
        training=arguments.training,
        document_frequency=arguments.document_frequency,
        tokenizer=caption_tokenizer(arguments.tokenizer),
        java=arguments.java,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )
    if arguments.out:
        evaluation.write(arguments.out)
    if arguments.per_image:
        evaluation.write_items(arguments.per_image)
    _show(evaluation)


def _score_answers(arguments: argparse.Namespace) -> None:
    from vlrnn.metrics.vqa_evaluation import evaluate_answers

    evaluation = evaluate_answers(
        references=arguments.references,
        predictions=arguments.predictions,
        other=arguments.compare,
        questions=arguments.questions,
        missing=arguments.missing,
        protocol=arguments.protocol,
        wordnet=arguments.wordnet,
        official=arguments.official,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )
    if arguments.out:
        evaluation.write(arguments.out)
    if arguments.per_question:
        evaluation.write_items(arguments.per_question)
    _show_answers(evaluation)


def _show(evaluation: "Evaluation") -> None:
    console = _console(evaluation.notes)
    console.print(_score_table(evaluation))
    if evaluation.comparison:
        console.print(_comparison_table(evaluation.comparison, evaluation.settings["compared_with"]))
    console.print(_health_table(evaluation))


def _score_table(evaluation: "Evaluation") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from vlrnn.metrics.caption_evaluation import ORDER

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
            table.add_row(name, "", f"not computed: {escape(printable(evaluation.not_computed[name]))}")
    return table


def _comparison_table(scores: Mapping[str, Mapping[str, float]], other: str) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"less {escape(printable(other))}", title_justify="left")
    table.add_column("score")
    table.add_column("difference", justify="right")
    table.add_column("95 % interval")
    table.add_column("p", justify="right")
    for name, score in scores.items():
        between = f"{score['low']:+.4f} to {score['high']:+.4f}"
        table.add_row(escape(one_line(name, 100)), f"{score['value']:+.4f}", between, f"{score['p']:.3f}")
    return table


def _health_table(evaluation: "Evaluation") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from vlrnn.metrics.caption_evaluation import ORDER

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
            table.add_row(name, f"not computed: {escape(printable(reason))}")
    return table


def _console(notes: Sequence[str]) -> "Console":
    """The terminal, with the notes on it."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, emoji=False)  # what stands between two colons is a name
    for note in notes:
        console.print(f"note: {escape(printable(note))}", soft_wrap=True)
    return console


def _show_answers(evaluation: "Evaluation") -> None:
    from rich.markup import escape
    from rich.table import Table

    console = _console(evaluation.notes)
    scores = _flat(evaluation.scores)
    table = Table(title=f"{evaluation.settings.get('n', 0)} questions, percent", title_justify="left")
    table.add_column("score")
    table.add_column("value", justify="right")
    table.add_column("95 % interval")
    table.add_column("questions", justify="right")
    for name, score in scores.items():
        between = f"{score['low']:.2f} to {score['high']:.2f}"
        table.add_row(escape(one_line(name, 100)), f"{score['value']:.2f}", between, str(score["n"]))
    for name, reason in evaluation.not_computed.items():
        table.add_row(name, "", f"not computed: {escape(printable(reason))}")
    console.print(table)
    if evaluation.comparison:
        console.print(_comparison_table(_flat(evaluation.comparison), evaluation.settings["compared_with"]))


def _flat(scores: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Scores in one row: those per type under the name of kind and type."""
    flat: dict[str, dict[str, float]] = {}
    for name, score in scores.items():
        if name.startswith("per_"):
            flat |= {f"{name}: {each}": value for each, value in score.items()}
        else:
            flat[name] = score
    return flat

"""`vlrnn score`: scores of finished predictions, made by any model. Reads files; loads no model."""

import argparse
import gc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlrnn.commands.probe import check_numbers
from vlrnn.commands.signature import Signature
from vlrnn.errors import one_line
from vlrnn.terminal import printable

if TYPE_CHECKING:
    from rich.table import Table

    from vlrnn.metrics.caption_evaluation import Evaluation

KINDS = {
    "captions": ("vlrnn.metrics.caption_evaluation.evaluate_captions", "image"),
    "vqa": ("vlrnn.metrics.vqa_evaluation.evaluate_answers", "question"),
}
"""Name -> the function, and what has scores of its own."""

_METAVARS = {
    **dict.fromkeys(("references", "training", "document_frequency"), "REF"),
    **dict.fromkeys(("questions", "official"), "FILE"),
    "predictions": "PRED",
    "compare": "PRED2",
    "wordnet": "FOLDER",
}
_SHARES = ("distinct_captions", "novel", "empty", "ends_badly", "repeated_word", "repeated_trigram")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="captions|vqa")
    from vlrnn.text.vqa_normalization import PROTOCOLS  # which reads a file

    options: dict[str, dict[str, Any]] = {name: {"metavar": metavar} for name, metavar in _METAVARS.items()}
    for kind, (path, item) in KINDS.items():
        function = Signature(path)
        each = kinds.add_parser(kind, help=function.summary, description=f"{function.summary}.")
        function.add_flags(each, protocol={"choices": list(PROTOCOLS)}, **options)
        each.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON")
        text = f"write the scores of each {item} as JSON lines"
        each.add_argument(f"--per_{item}", dest="per_item", type=Path, metavar="FILE", help=text)
        each.set_defaults(function=function)


def run(arguments: argparse.Namespace) -> None:
    check_numbers(arguments)
    # The bootstrap's products are small: with other work on the machine, threads would mostly wait for each other. This
    # is read when numpy is loaded, which a command line has not done yet.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Records hold no cycles, and to look for some among millions of them again and again takes a sixth of the time.
    gc.disable()
    try:
        evaluation = arguments.function.call(arguments)
        if arguments.out:
            evaluation.write(arguments.out)
        if arguments.per_item:
            evaluation.write_items(arguments.per_item)
        _show(evaluation, arguments.kind)
    finally:
        gc.enable()


def _show(evaluation: Any, kind: str) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, emoji=False)  # what stands between two colons is a name
    for note in evaluation.notes:
        console.print(f"note: {escape(printable(note))}", soft_wrap=True)
    for table in (_caption_tables if kind == "captions" else _answer_tables)(evaluation):
        console.print(table)


def _table(title: str, headers: Sequence[str], right: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
    """A table; the columns `right` are flush right."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(title)), title_justify="left")
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left")
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    return table


def _caption_tables(evaluation: "Evaluation") -> Iterator["Table"]:
    from vlrnn.metrics.caption_evaluation import ORDER

    rows, missing = [], {name: f"not computed: {reason}" for name, reason in evaluation.not_computed.items()}
    for name in ORDER:
        if name in evaluation.scores:
            score = evaluation.scores[name]
            rows.append([name, f"{score['value']:.4f}", f"{score['low']:.4f} to {score['high']:.4f}"])
        elif name in missing:
            rows.append([name, "", missing[name]])
    yield _table(f"{evaluation.settings['n']} images", ("score", "value", "95 % interval"), ("value",), rows)
    if evaluation.comparison:
        yield _comparison(evaluation.comparison, evaluation.settings["compared_with"])
    rows = []
    for name, value in evaluation.health.items():
        precise = name.startswith(("distinct", "mBLEU"))
        rows.append([name, f"{100 * value:.1f} %" if name in _SHARES else f"{value:.4f}" if precise else f"{value:g}"])
    rows += [[name, reason] for name, reason in missing.items() if name not in ORDER]
    yield _table("health", ("measure", "value"), (), rows)


def _answer_tables(evaluation: "Evaluation") -> Iterator["Table"]:
    rows = []
    for name, score in _flat(evaluation.scores).items():
        between = f"{score['low']:.2f} to {score['high']:.2f}"
        rows.append([one_line(name, 100), f"{score['value']:.2f}", between, str(score["n"])])
    rows += [[name, "", f"not computed: {reason}", ""] for name, reason in evaluation.not_computed.items()]
    headers = ("score", "value", "95 % interval", "questions")
    title = f"{evaluation.settings.get('n', 0)} questions, percent"
    yield _table(title, headers, ("value", "questions"), rows)
    if evaluation.comparison:
        yield _comparison(_flat(evaluation.comparison), evaluation.settings["compared_with"])


def _comparison(scores: Mapping[str, Mapping[str, float]], other: str) -> "Table":
    rows = []
    for name, score in scores.items():
        between = f"{score['low']:+.4f} to {score['high']:+.4f}"
        rows.append([one_line(name, 100), f"{score['value']:+.4f}", between, f"{score['p']:.3f}"])
    return _table(f"less {other}", ("score", "difference", "95 % interval", "p"), ("difference", "p"), rows)


def _flat(scores: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Scores in one row: those per type under the name of kind and type."""
    flat: dict[str, dict[str, float]] = {}
    for name, score in scores.items():
        if name.startswith("per_"):
            flat |= {f"{name}: {each}": value for each, value in score.items()}
        else:
            flat[name] = score
    return flat

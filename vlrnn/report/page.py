"""From run folders to one HTML file that needs nothing else: pictures and curves are inside it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

import vlrnn
from vlrnn.data.images import open_image
from vlrnn.errors import UserError
from vlrnn.files import replacing
from vlrnn.report.run import Run, load_run

_HUGE = 1e300  # no score; a whole number of JSON can be too large to be written as a decimal
_SIDE = 240  # pixels, of the pictures in the page


@dataclass(frozen=True)
class Shown:
    """A caption or an answer under its picture. `picture` is a data address, empty when the file is not there;
    `question` what was asked, if anything; `references` what people wrote."""

    id: str
    picture: str
    question: str
    said: str
    references: Sequence[str]


def write_report(folders: Sequence[str | Path], out: str | Path, examples: int = 24) -> None:
    """Write the page of one or several runs.

    Args:
        folders: run folders; the first is the one whose captions or answers are shown; those of one task stand in one
            table of scores.
        out: the HTML file.
        examples: how many captions or answers to show.

    Raises:
        UserError: a folder is no scored run.
    """
    if examples < 0:
        raise UserError(f"examples must not be negative, as {examples} is")
    runs = [load_run(folder, examples if index == 0 else 0) for index, folder in enumerate(folders)]
    if len({run.name for run in runs}) < len(runs):  # gru/captioning and lstm/captioning, say
        runs = [replace(run, name=str(run.folder)) for run in runs]
    page = Environment(loader=PackageLoader("vlrnn.report", "."), autoescape=True, undefined=StrictUndefined)
    page.filters["score"] = format_score
    html = page.get_template("page.html").render(
        version=vlrnn.__version__,
        runs=runs,
        tables=_tables(runs),
        settings=list(dict.fromkeys(name for run in runs for name in run.settings)),
        curves=[(run.name, curves) for run in runs if (curves := _curves(run))],
        shown=_shown(runs[0], examples),
    )
    with replacing(out) as file:
        file.write(html)


def format_score(score: Any) -> str:
    """A score for people: `0.512 [0.498, 0.527]`, or `-` where there is none."""
    if isinstance(score, dict):
        value, low, high = (format_score(score.get(key)) for key in ("value", "low", "high"))
        return value if "-" in (low, high) else f"{value} [{low}, {high}]"
    return f"{score:.3f}" if isinstance(score, (int, float)) and abs(score) < _HUGE else "-"


def _tables(runs: Sequence[Run]) -> list[tuple[list[Run], list[str]]]:
    """Runs that have scores in common, with the names of all their scores."""
    tables: list[tuple[list[Run], list[str]]] = []
    for run in runs:
        table = next((table for table in tables if run.scores.keys() & table[1]), None)
        if table is None:
            tables.append(([run], list(run.scores)))
        else:
            table[0].append(run)
            table[1].extend(name for name in run.scores if name not in table[1])
    return tables


def _shown(run: Run, count: int) -> list[Shown]:
    shown = []
    for prediction in run.predictions[:count]:
        example = run.examples.get(prediction.id)
        picture = _picture(run.image_root / example.image) if example else ""
        question = (example and example.question) or ""
        written = dict.fromkeys((*example.captions, *example.answers)) if example else ()
        shown.append(Shown(str(prediction.id), picture, question, prediction.text, tuple(written)))
    return shown


def _picture(path: Path) -> str:
    try:
        image = open_image(path)
    except UserError:
        return ""
    image.thumbnail((_SIDE, _SIDE))
    held = io.BytesIO()
    image.save(held, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"


def _curves(run: Run) -> Markup:
    """The losses, and the score of captions or answers, over steps; an SVG, empty when nothing was logged."""
    wanted = {"nats": ("train/loss", "val/loss"), "CIDEr": ("val/CIDEr",), "accuracy in %": ("val/overall",)}
    found = {label: {name: run.log[name] for name in names if name in run.log} for label, names in wanted.items()}
    drawn = [(label, lines) for label, lines in found.items() if lines]
    if not drawn:
        return Markup()
    figure = Figure(figsize=(4.4 * len(drawn), 2.8), layout="constrained")
    for axis, (label, lines) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
        for name, points in lines.items():
            axis.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 40 else None)
        axis.set_xlabel("steps")
        axis.set_ylabel(label)
        axis.legend()
        axis.grid(alpha=0.3)
    held = io.StringIO()
    # Without metadata, which would name the day and a few web addresses.
    figure.savefig(held, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return Markup(held.getvalue()[held.getvalue().index("<svg") :])

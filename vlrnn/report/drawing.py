"""Charts as SVG in the text colour of the page, so that they are readable in light and in dark. Independent of runs."""

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec
from warnings import catch_warnings, simplefilter

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlrnn.errors import UserError
from vlrnn.files import replacing
from vlrnn.probes.finding import number

COLOURS = ("#3b82c4", "#e07b39", "#2f9e78", "#b565c9", "#c4453b", "#8f7f2a", "#5f6bd0", "#7a7a7a")
"""Of runs, in their order; each contrasts with the page in light and in dark."""

_KINDS = (".png", ".svg", ".pdf")

_LONG = 48  # letters of a label
_LEAST = 0.75  # of its own width, which a picture is shown in
_INK = "#010203"  # stands for the colour of the page's text
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "font.size": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.color": _INK,
    "legend.frameon": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), _INK
    ),
}

Arguments = ParamSpec("Arguments")


def templates() -> Environment:
    """The templates of this package, with escaping but in Markdown."""
    return Environment(
        loader=PackageLoader("vlrnn.report", "."),
        autoescape=lambda name: name is None or not name.endswith(".md"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def drawn(draw: Callable[Arguments, Figure | None]) -> Callable[Arguments, Markup]:
    """Decorator: the function's figure as SVG; empty for None."""

    @wraps(draw)
    def as_svg(*arguments: Arguments.args, **named: Arguments.kwargs) -> Markup:
        with rc_context(_STYLE):
            figure = draw(*arguments, **named)
            if figure is None:
                return Markup()
            held = io.StringIO()
            with catch_warnings():  # of letters that matplotlib's font lacks; the browser has others
                simplefilter("ignore", UserWarning)
                # Without metadata, which would name the day and a few web addresses.
                figure.savefig(held, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        text = held.getvalue()
        text = text[text.index("<svg") :].replace(_INK, "currentColor")
        # A narrow page scrolls, so that the text stays readable.
        return Markup(text.replace("<svg", f'<svg style="min-width:{_LEAST * figure.get_figwidth():.1f}in"', 1))

    return as_svg


def picture_file(path: Path) -> Path:
    """The path of a picture.

    Raises:
        UserError: its suffix is not .png, .svg or .pdf.
    """
    if path.suffix.lower() not in _KINDS:
        raise UserError(f"{path}: pictures are written as one of {', '.join(_KINDS)}")
    return path


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the file's suffix."""
    with replacing(path, binary=True) as file:
        figure.savefig(file, format=picture_file(path).suffix.lower().removeprefix("."), dpi=150)


def saved(draw: Callable[Arguments, Figure]) -> Callable[Concatenate[Path, Arguments], None]:
    """Decorator: write the function's figure to a PNG, SVG or PDF file; its path is the first argument."""

    @wraps(draw)
    def save(path: Path, /, *arguments: Arguments.args, **named: Arguments.kwargs) -> None:
        save_figure(draw(*arguments, **named), path)

    return save


def panels(count: int, height: float, width: float = 4.6) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a row of panels, of so many inches each."""
    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def add_legend(figure: Figure, **style: Any) -> None:
    """Below all panels, the labels of the first."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=8, **style)


def with_errors(scores: Iterable[Mapping[str, float]], unit: float = 1.0) -> tuple[list[float], list[list[float]]]:
    """The values of scores, and the lengths of their intervals below and above, [2, scores]; as shares of `unit`."""
    found = [{end: each[end] / unit for end in ("value", "low", "high")} for each in scores]
    reach = [[abs(each[end] - each["value"]) for each in found] for end in ("low", "high")]
    return [each["value"] for each in found], reach


def plain(name: str) -> str:
    """A name from the data as a label: without formulas, which matplotlib reads between two dollars; not hidden, as
    legends hide names with a leading underscore; and a long one shortened in the middle."""
    if len(name) > _LONG:
        name = f"{name[: _LONG // 3]}…{name[-_LONG // 2 :]}"
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


# Parallel coordinates: a line for each run or trial, over axes side by side.

_APART = 0.05  # least distance of two ticks, as a share of the axis
_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+)+")


class Axis(NamedTuple):
    """An axis: the height of each line, in 0..1, nan without a value; and tick text -> height."""

    name: str
    heights: Sequence[float]
    ticks: Mapping[str, float]


def axis_of(name: str, values: Sequence[Any], log: bool = False) -> Axis:
    """An axis of values: numbers on a linear or, above 0, a logarithmic scale; other values in alphabetical order."""
    numbers = [number(value) for value in values]
    if any(each is None for each in numbers):
        order = {text: float(place) for place, text in enumerate(sorted(set(map(_tick, values))))}
        placed = [order[_tick(value)] for value in values]
    else:
        placed = [math.log(each) if log else each for each in numbers if each is not None]
    finite = [each for each in placed if not math.isnan(each)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    heights = [(each - low) / (high - low) if high > low else each - low + 0.5 for each in placed]
    return Axis(name, heights, _ticks(values, heights))


def _ticks(values: Sequence[Any], heights: Sequence[float]) -> dict[str, float]:
    """Text -> height of values, the ends first; without those that would overlap an earlier one."""
    placed = [pair for pair in zip(values, heights, strict=True) if not math.isnan(pair[1])]
    ticks: dict[str, float] = {}
    for value, height in sorted(placed, key=lambda pair: -abs(pair[1] - 0.5)):
        if all(abs(height - other) >= _APART for other in ticks.values()):
            ticks[_tick(value)] = height
    return ticks


def _tick(value: Any) -> str:
    """A number in three digits, a class by its name."""
    text = str(value)
    return f"{value:.3g}" if isinstance(value, float) else text.rpartition(".")[2] if _PATH.fullmatch(text) else text


def draw_coordinates(axes: Sequence[Axis], styles: Sequence[Mapping[str, Any]]) -> Figure:
    """A line for each of the styles, keywords of `plot`; those with a label are in the legend."""
    figure = Figure(figsize=(1.5 * max(4, len(axes)), 4), layout="constrained")
    axis = figure.subplots()
    for place, style in enumerate(styles):
        axis.plot(range(len(axes)), [each.heights[place] for each in axes], **{"marker": "o", **style})
    for x, each in enumerate(axes):
        for text, height in each.ticks.items():
            axis.annotate(plain(text), (x, height), (4, 2), textcoords="offset points", fontsize=7)
    axis.set_xticks(range(len(axes)), [plain(each.name) for each in axes], rotation=20, ha="right")
    axis.set_yticks([])
    axis.spines[["left", "right", "top"]].set_visible(False)
    axis.grid(axis="y", visible=False)
    axis.grid(axis="x", visible=True)
    if any("label" in style for style in styles):
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure

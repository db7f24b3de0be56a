"""Charts as SVG in the text colour of the page, so that they are readable in light and in dark; pictures of attention
weights. Independent of runs and models."""

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec
from warnings import catch_warnings, simplefilter

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vlrnn.errors import UserError
from vlrnn.files import replacing
from vlrnn.probes.finding import number

COLOURS = ("#3b82c4", "#e07b39", "#2f9e78", "#b565c9", "#c4453b", "#8f7f2a", "#5f6bd0", "#7a7a7a")
"""Of runs, in their order; each contrasts with the page in light and in dark."""


def colour_of(place: int) -> str:
    """The colour of the line or run of this number."""
    return COLOURS[place % len(COLOURS)]


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


def panels(count: int, height: float, width: float = 4.6) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a row of panels, of so many inches each."""
    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def add_legend(figure: Figure, **style: Any) -> None:
    """Below all panels, the labels of the first."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=8, **style)


def draw_curves(axis: Axes, curves: Mapping[str, Sequence[float]], colour: str, **style: Any) -> None:
    """A line of what was `measured`, and a thin dotted one of `theory`, if there is one."""
    axis.plot(curves["measured"], color=colour, **style)
    if "theory" in curves:
        axis.plot(curves["theory"], color=colour, linestyle=":", linewidth=0.8)


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


# Attention weights over an image.

_COLUMNS = 5
_WIDE, _TITLE = 2.2, 0.2  # inches: width of each picture, height of the line above it
_SIDE = 384  # pixels of the longer side of each


def shaded(image: Image.Image, weights: np.ndarray) -> Image.Image:
    """The image, RGB, bright where the weights [N] of a square grid of regions, row by row, are large."""
    side = math.isqrt(len(weights))
    grid = weights[: side * side].reshape(side, side)
    bright = Image.fromarray((255 * grid / max(grid.max(), 1e-9)).astype(np.uint8))
    light = np.asarray(bright.resize(image.size, Image.Resampling.BICUBIC), dtype=np.float32)[..., None] / 255
    return Image.fromarray((np.asarray(image) * (0.25 + 0.75 * light)).astype(np.uint8))


def within(image: Image.Image, side: int) -> Image.Image:
    """The image, resized to a longer side of `side` pixels; the shorter side has at least one."""
    scale = side / max(image.size)
    return image.resize((max(1, round(scale * image.width)), max(1, round(scale * image.height))))


def save_attention(path: str | Path, image: Image.Image, words: Sequence[str], weights: np.ndarray) -> None:
    """Save the image once for every word, bright where its attention weights are large.

    Args:
        path: a .png, .jpg, .pdf or .svg file.
        image: RGB.
        words: T of them.
        weights: [T, N], over a square grid of regions, row by row.

    Raises:
        UserError: the file's ending names no picture format, or it cannot be written.
    """
    image = within(image, _SIDE)
    rows = math.ceil((len(words) + 1) / _COLUMNS)
    tall = min(2 * _WIDE, max(1.0, _WIDE * image.height / image.width)) + _TITLE
    figure = Figure(figsize=(_WIDE * _COLUMNS, tall * rows), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for axis in axes:
        axis.axis("off")
    axes[0].imshow(image)
    words = [word.replace("$", r"\$") for word in words]  # else what stands between two is taken for a formula
    axes[0].set_title(" ".join(words), fontsize=9, wrap=True)
    for axis, word, word_weights in zip(axes[1:], words, weights, strict=False):
        axis.imshow(shaded(image, word_weights))
        axis.set_title(f"{word}  {word_weights.max():.2f}", fontsize=10)
    try:
        with replacing(path, binary=True) as file:
            figure.savefig(file, format=Path(path).suffix.removeprefix(".") or None, dpi=110)
    except ValueError as fault:
        raise UserError(f"{path}: the picture cannot be written: {fault}") from None

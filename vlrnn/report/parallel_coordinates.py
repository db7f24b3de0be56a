"""Parallel coordinates: a line for each thing, over axes that stand side by side. Independent of runs and trials."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from vlrnn.report.drawing import number, plain

_APART = 0.05  # of what is written beside an axis, that it can be read
_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+)+")


class Axis(NamedTuple):
    """Where each thing stands, in 0..1, nan where it has no value; and text -> height of what is written beside."""

    name: str
    heights: Sequence[float]
    ticks: Mapping[str, float]


def axis_of(name: str, values: Sequence[Any], log: bool = False) -> Axis:
    """An axis of values: numbers by their size, or, above 0, by their order of magnitude; all else in its order."""
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
    """Text -> height of values, the ends first; of those that would be written over each other the first."""
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
    """A line for each of the styles, keywords of `plot`; those with a label stand in the legend."""
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

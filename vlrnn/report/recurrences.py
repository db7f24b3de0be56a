"""A comparison of recurrences, as a picture and as a table of plain numbers."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from vlrnn.files import replacing, spreadsheet_cell
from vlrnn.report.drawing import COLOURS, plain, save_figure

COSTS = {
    "parameters": "parameters",
    "state": "numbers in the state",
    "trained_words": "words per second, training",
    "decoded_words": "words per second, decoding",
}
"""What stands beside the score, and what it is called."""

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Cell -> name -> value with its interval, as the study finds them."""


def draw_recurrences(scores: Scores, settings: Mapping[str, Any]) -> Figure:
    """A row for each cell, a panel for the score and for each cost; what recurrences are compared with is paler."""
    panels = {settings["unit"]: "score, " + settings["unit"], **COSTS}
    figure = Figure(figsize=(14, 1.2 + 0.32 * len(scores)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True)
    for axis, (name, title) in zip(axes, panels.items(), strict=True):
        _panel(axis, [each[name] for each in scores.values()], [cell == settings["beside"] for cell in scores])
        axis.set_title(title, fontsize=9)
        if name in COSTS:
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes[0].set_yticks(range(len(scores)), [plain(cell) for cell in scores])
    axes[0].invert_yaxis()
    axes[list(panels).index("state")].set_xscale("log")  # some are hundreds of times as large as others
    return figure


def _panel(axis: Axes, values: list[Mapping[str, float]], beside: list[bool]) -> None:
    heights = [each["value"] for each in values]
    reach = [[each["value"] - each["low"] for each in values], [each["high"] - each["value"] for each in values]]
    bars = axis.barh(range(len(values)), heights, xerr=reach, color=COLOURS[0], error_kw={"elinewidth": 1})
    for bar, pale in zip(bars, beside, strict=True):
        bar.set_alpha(0.45 if pale else 1)
    axis.grid(axis="y", visible=False)
    axis.tick_params(labelsize=8)
    axis.xaxis.set_major_locator(MaxNLocator(4))


def save_recurrences(path: Path, scores: Scores, settings: Mapping[str, Any]) -> None:
    """Draw it into a PNG, SVG or PDF file."""
    save_figure(draw_recurrences(scores, settings), path)


def write_table(path: Path, scores: Scores, seeds: Mapping[str, list[float]]) -> None:
    """Write a CSV file: a row for each cell, each score and cost with its ends, and the score of each seed."""
    names = list(next(iter(scores.values())))
    header = ["cell", *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))]
    count = len(next(iter(seeds.values())))
    with replacing(path) as file:
        table = csv.writer(file)
        table.writerow([*header, *(f"seed_{number}" for number in range(count))])
        for cell, each in scores.items():
            numbers = [each[name][end] for name in names for end in ("value", "low", "high")]
            table.writerow([spreadsheet_cell(cell), *numbers, *seeds[cell]])

"""How long recurrences remember, as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vlrnn.report.drawing import COLOURS, plain, save_figure


def draw_horizon(scores: Mapping[str, Any], settings: Mapping[str, Any]) -> Figure:
    """A panel for each task: the error over lengths, a line for each cell; dotted, below what it counts as solved."""
    figure = Figure(figsize=(5.2 * len(scores), 3.6), layout="constrained")
    for axis, (task, cells) in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores.items(), strict=True):
        for place, (cell, found) in enumerate(cells.items()):
            errors = [found[f"at_{length}"] for length in settings["lengths"]]
            values = [each["value"] for each in errors]
            reach = [
                [each["value"] - each["low"] for each in errors],
                [each["high"] - each["value"] for each in errors],
            ]
            axis.errorbar(
                settings["lengths"], values, reach, color=COLOURS[place % len(COLOURS)], marker="o", label=plain(cell)
            )
        axis.axhline(settings["solved_below"][task], linestyle=":", color=COLOURS[-1])
        axis.set_xscale("log", base=2)
        axis.set_xticks(settings["lengths"], [str(length) for length in settings["lengths"]])
        axis.set(title=task, xlabel="length, steps", ylabel=settings["measures"][task])
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def save_horizon(path: Path, scores: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Draw it into a PNG, SVG or PDF file."""
    save_figure(draw_horizon(scores, settings), path)

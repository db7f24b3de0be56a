"""How gradients fade or grow on their way back through time, as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlrnn.report.drawing import COLOURS, plain, save_figure

_LEAST, _MOST = 1e-12, 1e12
"""What is drawn lies between: what is beyond has vanished, or exploded."""

_STYLES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))


def draw_flow(axis: Axes, curves: Mapping[str, Mapping[str, Any]]) -> None:
    """The share of the gradient that arrives, over the steps that it has come, on a logarithmic scale: a colour for
    each cell, a line for each number of its layers; thin and dotted what theory says.

    Args:
        axis: to draw into.
        curves: name, with the layers behind its last comma -> `shares` [1 + T] and, where there is one, `theory`.
    """
    colours: dict[str, str] = {}
    drawn: dict[str, int] = {}
    for name, curve in curves.items():
        cell = name.rpartition(", ")[0] or name
        colour = colours.setdefault(cell, COLOURS[len(colours) % len(COLOURS)])
        style = _STYLES[drawn.get(cell, 0) % len(_STYLES)]
        drawn[cell] = drawn.get(cell, 0) + 1
        axis.plot(curve["shares"], color=colour, linestyle=style, label=plain(name))
        if "theory" in curve:
            axis.plot(curve["theory"], color=colour, linestyle=":", linewidth=0.8)
    shares = [share for curve in curves.values() for share in curve["shares"] if share > 0]
    axis.set_yscale("log")
    axis.set_ylim(max(_LEAST, min(shares, default=1) / 3), min(_MOST, 3 * max(shares, default=1)))
    axis.set_xlabel("steps back from the loss (dotted: what theory says)")
    axis.set_ylabel("share of the gradient")
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def save_flow(path: Path, curves: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw them into a PNG, SVG or PDF file."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    draw_flow(figure.subplots(), curves)
    save_figure(figure, path)

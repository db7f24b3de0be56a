"""What dropout does to activations and to a state, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlrnn.report.drawing import COLOURS, plain, save_figure

_PANELS = {  # what the names of lines begin with -> title, what is on the axis
    "mean,": ("the mean of activations", "share of what it is without dropout"),
    "mean square,": ("their mean square", "share of what it is without dropout"),
    "behind": ("the mean behind a nonlinearity", "training as a share of evaluation"),
}


def draw_dropout(details: Mapping[str, Any]) -> Figure:
    """Activations over the share that is dropped, in training and in evaluation; and how far a state is still what it
    would be, step by step, at the middle one of the rates. Dotted is what theory says.

    Args:
        details: of the probe, `dropout`: `rates`; `activations`, line -> `measured`, scores by rate, and `theory`,
            values by rate; `states`, group -> row -> `measured` [1 + K], and `theory` where there is one.
    """
    found = details["dropout"]
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = list(figure.subplots(2, 2).flat)
    for axis, (begins, (title, label)) in zip(axes, _PANELS.items(), strict=False):
        named = {name: line for name, line in found["activations"].items() if name.startswith(begins)}
        for place, (name, line) in enumerate(named.items()):
            _over_rates(axis, found["rates"], line, place, plain(name.removeprefix(begins).strip()))
        axis.set(title=title, xlabel="share dropped, p", ylabel=label, xticks=found["rates"])
        axis.legend(fontsize=7)
    middle = f"p = {sorted(found['rates'])[len(found['rates']) // 2]:g}"
    for place, (name, curves) in enumerate(found["states"][f"alike, {middle}"].items()):
        axes[3].plot(curves["measured"], color=COLOURS[place % len(COLOURS)], label=plain(name))
        if "theory" in curves:
            axes[3].plot(curves["theory"], color=COLOURS[place % len(COLOURS)], linestyle=":", linewidth=0.8)
    axes[3].set(title=f"a state under dropout, {middle}", xlabel="steps", ylabel="cosine² with the state without")
    axes[3].set_ylim(bottom=0)
    axes[3].legend(fontsize=7)
    return figure


def _over_rates(axis: Axes, rates: Sequence[float], line: Mapping[str, Any], place: int, label: str) -> None:
    colour, marker = COLOURS[place % len(COLOURS)], "ox"[place % 2]  # those that lie on each other are both seen
    scores = line["measured"]
    values = [each["value"] for each in scores]
    reach = [[abs(each[end] - each["value"]) for each in scores] for end in ("low", "high")]
    axis.errorbar(rates, values, reach, color=colour, marker=marker, linestyle="", label=label)
    axis.plot(rates, line["theory"], color=colour, linestyle=":", linewidth=0.8)


def save_dropout(path: Path, details: Mapping[str, Any]) -> None:
    """Draw it into a PNG, SVG or PDF file."""
    save_figure(draw_dropout(details), path)

"""How signals and gradients fade or grow by initialisation, and what small networks learn, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlrnn.report.drawing import COLOURS, plain, save_figure

_LEAST, _MOST = 1e-6, 1e12
"""What is drawn lies between: what is beyond has vanished, or exploded."""

_BACK = {"signal": "layers or steps on", "gradient": "layers or steps back"}


def draw_scales(details: Mapping[str, Any]) -> Figure:
    """A panel for the signal and one for the gradient of every way and nonlinearity: a colour for each initialisation,
    broken where sums are normalised, thin and dotted what theory says; and below what is learnt.

    Args:
        details: of the probe init, `scales`: group -> row -> `measured` [1 + K], and `theory` where there is one; and
            `learnt`: task -> row -> `error` and `chance`.
    """
    scales, learnt = details["scales"], details["learnt"]
    columns = list(dict.fromkeys(group.partition(" ")[2] for group in scales))
    figure = Figure(figsize=(3.2 * max(3, len(columns)), 8), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(2, 1))[:, 0]
    axes = upper.subplots(2, len(columns), squeeze=False, sharex=True, sharey=True)
    colours: dict[str, str] = {}
    for row, what in enumerate(_BACK):
        for axis, column in zip(axes[row], columns, strict=True):
            _scales(axis, scales[f"{what} {column}"], colours)
            axis.set(title=f"{what} {plain(column)}", xlabel=_BACK[what])
        axes[row][0].set_ylabel("root mean square")
    handles, labels = axes[0][0].get_legend_handles_labels()
    told = "broken: normalised; dotted: what theory says"
    largest = max((max(curves["measured"]) for rows in scales.values() for curves in rows.values()), default=1)
    axes[0][0].set_ylim(_LEAST, min(3 * largest, _MOST))
    upper.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8, title=told, title_fontsize=8)
    panels = lower.subplots(1, len(learnt), squeeze=False, sharey=True, width_ratios=list(map(len, learnt.values())))
    for axis, (task, rows) in zip(panels[0], learnt.items(), strict=True):
        _learnt(axis, rows, [colours.get(name, COLOURS[-1]) for name in rows])
        axis.set_title(f"learning {plain(task)}", fontsize=9)
    lower.axes[0].set_ylabel("error as a share of chance")
    return figure


def _scales(axis: Axes, rows: Mapping[str, Mapping[str, Sequence[float]]], colours: dict[str, str]) -> None:
    for name, curves in rows.items():
        initialisation, _, normalised = name.partition(", ")
        colour = colours.setdefault(initialisation, COLOURS[len(colours) % len(COLOURS)])
        label = None if normalised else plain(initialisation)
        width = 3 - 0.4 * list(colours).index(initialisation)  # some lie on each other: the later ones are thinner
        style = "--" if normalised else "-"
        axis.plot(_seen(curves["measured"]), color=colour, linestyle=style, linewidth=width, label=label)
        if "theory" in curves:
            axis.plot(_seen(curves["theory"]), color=colour, linestyle=":", linewidth=0.8)
    axis.set_yscale("log")


def _seen(curve: Sequence[float]) -> list[float]:
    """What has vanished goes down to the lower edge, so that it is seen."""
    return [max(each, _LEAST) for each in curve]


def _learnt(axis: Axes, rows: Mapping[str, Mapping[str, Any]], colours: Sequence[str]) -> None:
    shares = [each["error"]["value"] / each["chance"]["value"] for each in rows.values()]
    reach = [
        [abs(each["error"][end] - each["error"]["value"]) / each["chance"]["value"] for each in rows.values()]
        for end in ("low", "high")
    ]
    axis.bar(range(len(rows)), shares, yerr=reach, color=colours, error_kw={"elinewidth": 1})
    axis.axhline(1, linestyle=":", color=COLOURS[-1])
    axis.set_xticks(range(len(rows)), [plain(name).replace(" ", "\n") for name in rows], fontsize=8)
    axis.grid(axis="x", visible=False)


def save_scales(path: Path, details: Mapping[str, Any]) -> None:
    """Draw it into a PNG, SVG or PDF file."""
    save_figure(draw_scales(details), path)

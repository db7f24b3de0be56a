"""Pictures of probes and studies of cells: dropout, gradient flow, activation scales, memory horizon."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlrnn.report.drawing import COLOURS, add_legend, panels, plain, save_figure, saved, with_errors

_PANELS = {  # prefix of the names of lines -> title, label of the axis
    "mean,": ("the mean of activations", "share of what it is without dropout"),
    "mean square,": ("their mean square", "share of what it is without dropout"),
    "behind": ("the mean behind a nonlinearity", "training as a share of evaluation"),
}


def draw_dropout(details: Mapping[str, Any]) -> Figure:
    """Activations over the dropped share, in training and in evaluation; and the similarity of a state to that without
    dropout, step by step, at the middle one of the rates. Theory is dotted.

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
            colour, marker = COLOURS[place % len(COLOURS)], "ox"[place % 2]  # so that overlapping ones are both visible
            values, reach = with_errors(line["measured"])
            label = plain(name.removeprefix(begins).strip())
            axis.errorbar(found["rates"], values, reach, color=colour, marker=marker, linestyle="", label=label)
            axis.plot(found["rates"], line["theory"], color=colour, linestyle=":", linewidth=0.8)
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


save_dropout = saved(draw_dropout)

_LEAST, _SMALLEST, _LARGEST = 1e-12, 1e-6, 1e12
"""Limits of axes, of shares and of activations: values below have vanished, values above have exploded."""

_STYLES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))


def draw_flow(axis: Axes, curves: Mapping[str, Mapping[str, Any]]) -> None:
    """The share of the gradient over the steps back from the loss, on a logarithmic scale: a colour for each cell, a
    line for each number of layers; theory is thin and dotted.

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
    axis.set_ylim(max(_LEAST, min(shares, default=1) / 3), min(_LARGEST, 3 * max(shares, default=1)))
    axis.set_xlabel("steps back from the loss (dotted: theory)")
    axis.set_ylabel("share of the gradient")
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def save_flow(path: Path, curves: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw them into a PNG, SVG or PDF file."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    draw_flow(figure.subplots(), curves)
    save_figure(figure, path)


_BACK = {"signal": "layers or steps on", "gradient": "layers or steps back"}


def draw_scales(details: Mapping[str, Any]) -> Figure:
    """A panel for the signal and one for the gradient of every way and nonlinearity: a colour for each initialisation,
    broken where sums are normalised, theory thin and dotted; and below the errors after learning.

    Args:
        details: of the probe init, `scales`: group -> row -> `measured` [1 + K], and `theory` where there is one; and
            `learnt`: task -> row -> `error` and `chance`.
    """
    scales, errors = details["scales"], details["learnt"]
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
    legend_title = "broken: normalised; dotted: theory"
    largest = max((max(curves["measured"]) for rows in scales.values() for curves in rows.values()), default=1)
    axes[0][0].set_ylim(_SMALLEST, min(3 * largest, _LARGEST))
    add_legend(upper, ncols=6, title=legend_title, title_fontsize=8)
    panels = lower.subplots(1, len(errors), squeeze=False, sharey=True, width_ratios=list(map(len, errors.values())))
    for axis, (task, rows) in zip(panels[0], errors.items(), strict=True):
        _draw_errors(axis, rows, [colours.get(name, COLOURS[-1]) for name in rows])
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
        axis.plot(_clamped(curves["measured"]), color=colour, linestyle=style, linewidth=width, label=label)
        if "theory" in curves:
            axis.plot(_clamped(curves["theory"]), color=colour, linestyle=":", linewidth=0.8)
    axis.set_yscale("log")


def _clamped(curve: Sequence[float]) -> list[float]:
    """The curve, with vanished values raised to the lower limit of the axis, where they are visible."""
    return [max(each, _SMALLEST) for each in curve]


def _draw_errors(axis: Axes, rows: Mapping[str, Mapping[str, Any]], colours: Sequence[str]) -> None:
    for place, (colour, each) in enumerate(zip(colours, rows.values(), strict=True)):
        share, reach = with_errors([each["error"]], each["chance"]["value"])
        axis.bar(place, share, yerr=reach, color=colour, error_kw={"elinewidth": 1})
    axis.axhline(1, linestyle=":", color=COLOURS[-1])
    axis.set_xticks(range(len(rows)), [plain(name).replace(" ", "\n") for name in rows], fontsize=8)
    axis.grid(axis="x", visible=False)


save_scales = saved(draw_scales)


def draw_horizon(scores: Mapping[str, Any], settings: Mapping[str, Any]) -> Figure:
    """A panel for each task: the error over lengths, a line for each cell; the bound of a solved task is dotted."""
    figure, axes = panels(len(scores), 3.6, 5.2)
    for axis, (task, cells) in zip(axes, scores.items(), strict=True):
        for place, (cell, found) in enumerate(cells.items()):
            values, reach = with_errors(found[f"at_{length}"] for length in settings["lengths"])
            colour = COLOURS[place % len(COLOURS)]
            axis.errorbar(settings["lengths"], values, reach, color=colour, marker="o", label=plain(cell))
        axis.axhline(settings["solved_below"][task], linestyle=":", color=COLOURS[-1])
        axis.set_xscale("log", base=2)
        axis.set_xticks(settings["lengths"], [str(length) for length in settings["lengths"]])
        axis.set(title=task, xlabel="length, steps", ylabel=settings["measures"][task])
    add_legend(figure, ncols=4)
    return figure


save_horizon = saved(draw_horizon)

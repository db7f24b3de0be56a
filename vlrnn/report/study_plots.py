"""Pictures and tables of studies, and of probes of cells."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from vlrnn.files import replacing, spreadsheet_cell
from vlrnn.report.drawing import (
    COLOURS,
    add_legend,
    axis_of,
    colour_of,
    draw_coordinates,
    draw_curves,
    panels,
    plain,
    with_errors,
)

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
    rates = found["rates"]
    figure = Figure(figsize=(10, 7), layout="constrained")
    *axes, last = figure.subplots(2, 2).flat
    for axis, (begins, (title, label)) in zip(axes, _PANELS.items(), strict=True):
        named = {name: line for name, line in found["activations"].items() if name.startswith(begins)}
        for place, (name, line) in enumerate(named.items()):
            marker = "ox"[place % 2]  # so that overlapping ones are both visible
            values, reach = with_errors(line["measured"])
            label = plain(name.removeprefix(begins).strip())
            axis.errorbar(rates, values, reach, color=colour_of(place), marker=marker, linestyle="", label=label)
            axis.plot(rates, line["theory"], color=colour_of(place), linestyle=":", linewidth=0.8)
        axis.set(title=title, xlabel="share dropped, p", ylabel=label, xticks=rates)
        axis.legend(fontsize=7)
    middle = f"p = {sorted(rates)[len(rates) // 2]:g}"
    for place, (name, curves) in enumerate(found["states"][f"alike, {middle}"].items()):
        draw_curves(last, curves, colour_of(place), label=plain(name))
    last.set(title=f"a state under dropout, {middle}", xlabel="steps", ylabel="cosine² with the state without")
    last.set_ylim(bottom=0)
    last.legend(fontsize=7)
    return figure


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
    drawn: dict[str, int] = {}  # cell -> number of its lines
    for name, curve in curves.items():
        cell = name.rpartition(", ")[0] or name
        style = _STYLES[drawn.get(cell, 0) % len(_STYLES)]
        drawn[cell] = drawn.get(cell, 0) + 1
        colour = colour_of(list(drawn).index(cell))
        draw_curves(axis, {"measured": curve["shares"], **curve}, colour, linestyle=style, label=plain(name))
    shares = [share for curve in curves.values() for share in curve["shares"] if share > 0]
    axis.set_yscale("log")
    axis.set_ylim(max(_LEAST, min(shares, default=1) / 3), min(_LARGEST, 3 * max(shares, default=1)))
    axis.set(xlabel="steps back from the loss (dotted: theory)", ylabel="share of the gradient")
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def draw_gradients(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A figure of `draw_flow`."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    draw_flow(figure.subplots(), curves)
    return figure


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
    for row, (what, label) in enumerate({"signal": "on", "gradient": "back"}.items()):
        for axis, column in zip(axes[row], columns, strict=True):
            _draw_scales(axis, scales[f"{what} {column}"], colours)
            axis.set(title=f"{what} {plain(column)}", xlabel=f"layers or steps {label}")
        axes[row][0].set_ylabel("root mean square")
    largest = max((max(curves["measured"]) for rows in scales.values() for curves in rows.values()), default=1)
    axes[0][0].set_ylim(_SMALLEST, min(3 * largest, _LARGEST))
    add_legend(upper, ncols=6, title="broken: normalised; dotted: theory", title_fontsize=8)
    panels = lower.subplots(1, len(errors), squeeze=False, sharey=True, width_ratios=list(map(len, errors.values())))
    for axis, (task, rows) in zip(panels[0], errors.items(), strict=True):
        for place, (name, each) in enumerate(rows.items()):
            share, reach = with_errors([each["error"]], each["chance"]["value"])
            axis.bar(place, share, yerr=reach, color=colours.get(name, COLOURS[-1]), error_kw={"elinewidth": 1})
        axis.axhline(1, linestyle=":", color=COLOURS[-1])
        axis.set_xticks(range(len(rows)), [plain(name).replace(" ", "\n") for name in rows], fontsize=8)
        axis.grid(axis="x", visible=False)
        axis.set_title(f"learning {plain(task)}", fontsize=9)
    lower.axes[0].set_ylabel("error as a share of chance")
    return figure


def _draw_scales(axis: Axes, rows: Mapping[str, Mapping[str, Sequence[float]]], colours: dict[str, str]) -> None:
    for name, curves in rows.items():
        initialisation, _, normalised = name.partition(", ")
        colour = colours.setdefault(initialisation, colour_of(len(colours)))
        width = 3 - 0.4 * list(colours).index(initialisation)  # some lie on each other: the later ones are thinner
        # Vanished values are raised to the lower limit of the axis, where they are visible.
        clamped = {key: [max(each, _SMALLEST) for each in curve] for key, curve in curves.items()}
        label = None if normalised else plain(initialisation)
        draw_curves(axis, clamped, colour, linestyle="--" if normalised else "-", linewidth=width, label=label)
    axis.set_yscale("log")


def draw_horizon(scores: Mapping[str, Any], settings: Mapping[str, Any]) -> Figure:
    """A panel for each task: the error over lengths, a line for each cell; the bound of a solved task is dotted."""
    figure, axes = panels(len(scores), 3.6, 5.2)
    for axis, (task, cells) in zip(axes, scores.items(), strict=True):
        for place, (cell, found) in enumerate(cells.items()):
            values, reach = with_errors(found[f"at_{length}"] for length in settings["lengths"])
            axis.errorbar(settings["lengths"], values, reach, color=colour_of(place), marker="o", label=plain(cell))
        axis.axhline(settings["solved_below"][task], linestyle=":", color=COLOURS[-1])
        axis.set_xscale("log", base=2)
        axis.set_xticks(settings["lengths"], [str(length) for length in settings["lengths"]])
        axis.set(title=task, xlabel="length, steps", ylabel=settings["measures"][task])
    add_legend(figure, ncols=4)
    return figure


_TITLES = {"captioning": "captioner", "classifier_vqa": "classifier of answers"}


def draw_dose_response(scores: Mapping[str, Any], settings: Mapping[str, Any]) -> Figure:
    """The scores of the study; error bars are 95 % intervals."""
    effect, control = settings["effect"], settings["control"]
    panels = {
        f"hallucinated, where a {settings['cause']} is and none of it": (effect, control),
        "right": ("right", "objects"),
        "drop of right with another image": ("grounding",),
    }
    figure = Figure(figsize=(11, 3.1 * len(scores)), layout="constrained")
    for row, (task, doses) in zip(figure.subplots(len(scores), 3, squeeze=False), scores.items(), strict=True):
        for axis, (title, names) in zip(row, panels.items(), strict=True):
            for name in (name for name in names if name in doses["rise"]):
                values, reach = with_errors(doses[f"bias {bias:g}"][name] for bias in settings["biases"])
                axis.errorbar(settings["biases"], values, reach, marker="o", capsize=3, label=name)
            axis.set_title(title, fontsize=9)
            axis.set_xlabel(f"bias: rate of a {effect} added to a {settings['cause']}", fontsize=8)
            axis.set_ylim(0, 1)
            axis.grid(alpha=0.3)
        row[0].set_ylabel(_TITLES[task])
        for axis in row[:2]:
            axis.legend()
    return figure


COSTS = {
    "parameters": "parameters",
    "state": "numbers in the state",
    "trained_words": "words per second, training",
    "decoded_words": "words per second, decoding",
}
"""Costs, and their titles."""

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Cell -> name -> value with its interval."""


def draw_recurrences(scores: Scores, settings: Mapping[str, Any]) -> Figure:
    """A row for each cell, a panel for the score and for each cost; the reference is paler."""
    panels = {settings["unit"]: "score, " + settings["unit"], **COSTS}
    figure = Figure(figsize=(14, 1.2 + 0.32 * len(scores)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True)
    for axis, (name, title) in zip(axes, panels.items(), strict=True):
        values, reach = with_errors(each[name] for each in scores.values())
        bars = axis.barh(range(len(scores)), values, xerr=reach, color=COLOURS[0], error_kw={"elinewidth": 1})
        for bar, cell in zip(bars, scores, strict=True):
            bar.set_alpha(0.45 if cell == settings["beside"] else 1)
        axis.grid(axis="y", visible=False)
        axis.tick_params(labelsize=8)
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.set_title(title, fontsize=9)
        if name in COSTS:
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes[0].set_yticks(range(len(scores)), [plain(cell) for cell in scores])
    axes[0].invert_yaxis()
    axes[list(panels).index("state")].set_xscale("log")  # some are hundreds of times as large as others
    return figure


def write_table(path: Path, scores: Scores, seeds: Mapping[str, list[float]]) -> None:
    """Write a CSV file: a row for each cell, with each score and cost, their intervals, and the score of each seed."""
    names = list(next(iter(scores.values())))
    header = ["cell", *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))]
    header += [f"seed_{number}" for number in range(len(next(iter(seeds.values()))))]
    numbers = {cell: [each[name][end] for name in names for end in _ENDS] for cell, each in scores.items()}
    _write_csv(path, [header, *([cell, *each, *seeds[cell]] for cell, each in numbers.items())])


_ENDS = ("value", "low", "high")


def _write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    with replacing(path) as file:
        csv.writer(file).writerows(map(spreadsheet_cell, row) for row in rows)


_FAINT, _CLEAR = 0.15, 0.7  # the worst trial, and the second best


def draw_sweep(details: Mapping[str, Any], settings: Mapping[str, Any]) -> Figure:
    """A line for each trial over the swept keys and the score; the better, the more opaque, the best in another colour.
    Failed trials are dotted, and have no score.

    Args:
        details, settings: of the study's finding.
    """
    trials = details["trials"]
    log = {name for name, _, values in (each.partition("=") for each in settings["keys"]) if values.startswith("log:")}
    axes = [
        axis_of(label, [each["settings"][name] for each in trials], name in log)
        for name, label in details["labels"].items()
    ]
    values = [each["score"]["value"] if each["score"] else math.nan for each in trials]
    ranked = sorted((value for value in values if value == value), reverse=settings["best"] == "max")
    failed = [place for place, value in enumerate(values) if value != value]
    styles: list[dict[str, Any]] = []
    for place, (trial, value) in enumerate(zip(trials, values, strict=True)):
        if trial["trial"] == details["best"]:
            label = f"trial {trial['trial']}, the best"
            styles.append({"color": COLOURS[1], "linewidth": 2.5, "zorder": 3, "label": label})
        elif value == value:
            worse = ranked.index(value) / max(1, len(ranked) - 1)
            styles.append({"color": COLOURS[0], "alpha": _CLEAR + (_FAINT - _CLEAR) * worse})
        else:
            legend = {"label": "failed"} if place == failed[0] else {}
            styles.append({"color": COLOURS[-1], "linestyle": ":", **legend})
    return draw_coordinates([*axes, axis_of(settings["score"], values)], styles)


def write_trials(path: Path, details: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write a CSV file: a row for each trial, with its settings, its score with its interval, and its seconds."""
    keys, score = list(details["labels"]), settings["score"]
    rows = [["trial", *keys, score, f"{score}_low", f"{score}_high", "seconds", "state", "reason"]]
    for each in details["trials"]:
        ends = [each["score"][end] for end in _ENDS] if each["score"] else [""] * 3
        status = [each["seconds"], "failed" if each["reason"] else "done", each["reason"]]
        rows.append([each["trial"], *(each["settings"][key] for key in keys), *ends, *status])
    _write_csv(path, rows)

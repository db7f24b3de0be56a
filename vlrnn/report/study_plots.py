"""Pictures of studies: dose-response, comparison of recurrences, hyperparameter sweep."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from vlrnn.files import replacing, spreadsheet_cell
from vlrnn.report.drawing import COLOURS, axis_of, draw_coordinates, plain, saved, with_errors

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


save_dose_response = saved(draw_dose_response)


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
        _panel(axis, [each[name] for each in scores.values()], [cell == settings["beside"] for cell in scores])
        axis.set_title(title, fontsize=9)
        if name in COSTS:
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes[0].set_yticks(range(len(scores)), [plain(cell) for cell in scores])
    axes[0].invert_yaxis()
    axes[list(panels).index("state")].set_xscale("log")  # some are hundreds of times as large as others
    return figure


def _panel(axis: Axes, values: list[Mapping[str, float]], is_reference: list[bool]) -> None:
    heights, reach = with_errors(values)
    bars = axis.barh(range(len(values)), heights, xerr=reach, color=COLOURS[0], error_kw={"elinewidth": 1})
    for bar, pale in zip(bars, is_reference, strict=True):
        bar.set_alpha(0.45 if pale else 1)
    axis.grid(axis="y", visible=False)
    axis.tick_params(labelsize=8)
    axis.xaxis.set_major_locator(MaxNLocator(4))


save_recurrences = saved(draw_recurrences)


def write_table(path: Path, scores: Scores, seeds: Mapping[str, list[float]]) -> None:
    """Write a CSV file: a row for each cell, with each score and cost, their intervals, and the score of each seed."""
    names = list(next(iter(scores.values())))
    header = ["cell", *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))]
    count = len(next(iter(seeds.values())))
    with replacing(path) as file:
        table = csv.writer(file)
        table.writerow([*header, *(f"seed_{number}" for number in range(count))])
        for cell, each in scores.items():
            numbers = [each[name][end] for name in names for end in ("value", "low", "high")]
            table.writerow([spreadsheet_cell(cell), *numbers, *seeds[cell]])


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
            styles.append(
                {"color": COLOURS[1], "linewidth": 2.5, "zorder": 3, "label": f"trial {trial['trial']}, the best"}
            )
        elif value == value:
            worse = ranked.index(value) / max(1, len(ranked) - 1)
            styles.append({"color": COLOURS[0], "alpha": _CLEAR + (_FAINT - _CLEAR) * worse})
        else:
            legend = {"label": "failed"} if place == failed[0] else {}
            styles.append({"color": COLOURS[-1], "linestyle": ":", **legend})
    return draw_coordinates([*axes, axis_of(settings["score"], values)], styles)


save_sweep = saved(draw_sweep)


def write_trials(path: Path, details: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write a CSV file: a row for each trial, with its settings, its score with its interval, and its seconds."""
    keys = list(details["labels"])
    score = settings["score"]
    with replacing(path) as file:
        table = csv.writer(file)
        table.writerow(["trial", *keys, score, f"{score}_low", f"{score}_high", "seconds", "state", "reason"])
        for each in details["trials"]:
            ends = [each["score"][end] for end in ("value", "low", "high")] if each["score"] else [""] * 3
            status = [each["seconds"], "failed" if each["reason"] else "done", each["reason"]]
            row = [each["trial"], *(each["settings"][key] for key in keys), *ends, *status]
            table.writerow(map(spreadsheet_cell, row))

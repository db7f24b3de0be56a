"""A sweep, as a picture and as a table of plain values."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vlrnn.files import replacing, spreadsheet_cell
from vlrnn.report.coordinates import axis_of, draw_coordinates
from vlrnn.report.drawing import COLOURS, save_figure

_FAINT, _CLEAR = 0.15, 0.7  # the worst trial, and the second best


def draw_sweep(details: Mapping[str, Any], settings: Mapping[str, Any]) -> Figure:
    """A line for each trial over what was swept, and its score behind; the better, the clearer, the best in another
    colour. Those that failed are dotted, and have no score.

    Args:
        details, settings: as the study finds them.
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
    looks: list[dict[str, Any]] = []
    for place, (trial, value) in enumerate(zip(trials, values, strict=True)):
        if trial["trial"] == details["best"]:
            looks.append(
                {"color": COLOURS[1], "linewidth": 2.5, "zorder": 3, "label": f"trial {trial['trial']}, the best"}
            )
        elif value == value:
            worse = ranked.index(value) / max(1, len(ranked) - 1)
            looks.append({"color": COLOURS[0], "alpha": _CLEAR + (_FAINT - _CLEAR) * worse})
        else:
            legend = {"label": "failed"} if place == failed[0] else {}
            looks.append({"color": COLOURS[-1], "linestyle": ":", **legend})
    return draw_coordinates([*axes, axis_of(settings["score"], values)], looks)


def save_sweep(path: Path, details: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Draw it into a PNG, SVG or PDF file."""
    save_figure(draw_sweep(details, settings), path)


def write_trials(path: Path, details: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write a CSV file: a row for each trial, what each key was, its score with its ends, and how long it trained."""
    keys = list(details["labels"])
    score = settings["score"]
    with replacing(path) as file:
        table = csv.writer(file)
        table.writerow(["trial", *keys, score, f"{score}_low", f"{score}_high", "seconds", "state", "reason"])
        for each in details["trials"]:
            ends = [each["score"][end] for end in ("value", "low", "high")] if each["score"] else [""] * 3
            told = [each["seconds"], "failed" if each["reason"] else "done", each["reason"]]
            row = [each["trial"], *(each["settings"][key] for key in keys), *ends, *told]
            table.writerow(map(spreadsheet_cell, row))

"""The picture of a dose-response study: what models make up, how much they look, and what they get right, against the
bias that they learnt from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vlrnn.report.drawing import save_figure

_TITLES = {"captioning": "captioner", "classifier_vqa": "classifier of answers"}


def draw_dose_response(scores: Mapping[str, Any], settings: Mapping[str, Any]) -> Figure:
    """The scores of the study; error bars are 95 % intervals."""
    effect, control = settings["effect"], settings["control"]
    panels = {
        f"made up, where a {settings['cause']} is and none of it": (effect, control),
        "right": ("right", "objects"),
        "less right with another picture": ("grounding",),
    }
    figure = Figure(figsize=(11, 3.1 * len(scores)), layout="constrained")
    for row, (task, doses) in zip(figure.subplots(len(scores), 3, squeeze=False), scores.items(), strict=True):
        for axis, (title, names) in zip(row, panels.items(), strict=True):
            for name in (name for name in names if name in doses["rise"]):
                points = [doses[f"bias {bias:g}"][name] for bias in settings["biases"]]
                values = [point["value"] for point in points]
                reach = [[point["value"] - point["low"] for point in points], [p["high"] - p["value"] for p in points]]
                axis.errorbar(settings["biases"], values, reach, marker="o", capsize=3, label=name)
            axis.set_title(title, fontsize=9)
            axis.set_xlabel(f"bias: how surely a {effect} comes with a {settings['cause']}", fontsize=8)
            axis.set_ylim(0, 1)
            axis.grid(alpha=0.3)
        row[0].set_ylabel(_TITLES[task])
        for axis in row[:2]:
            axis.legend()
    return figure


def save_dose_response(path: Path, scores: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Draw them into a PNG, SVG or PDF file."""
    save_figure(draw_dose_response(scores, settings), path)

"""Charts of a report: training curves, hyperparameters against scores, results of probes, confidence intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlrnn.probes.finding import number
from vlrnn.report import study_plots
from vlrnn.report.content import ProbeRow, ProbeSection, RunSummary, Section, StudySection
from vlrnn.report.drawing import COLOURS, add_legend, axis_of, colour_of, draw_coordinates, drawn, panels, plain
from vlrnn.report.run import flatten
from vlrnn.report.unit_pages import draw_detectors, draw_heat

MANY = 5
"""More runs than this get parallel coordinates."""

_AXES = 8  # of parallel coordinates: settings that differ, and behind them scores
_SCORES = ("CIDEr", "Bleu_4", "ROUGE_L", "overall", "exact_match", "bits_per_character")
_BARS = 15


@drawn
def curves(runs: Sequence[RunSummary]) -> Figure | None:
    """The losses, and the score of captions or answers, over steps; None without a log."""
    wanted = {"loss, nats": ("train/loss", "val/loss"), "CIDEr": ("val/CIDEr",), "accuracy, %": ("val/overall",)}
    wanted["bits per character"] = ("val/bits_per_character",)
    logged = {label: names for label, names in wanted.items() if any(name in run.log for name in names for run in runs)}
    if not logged:
        return None
    figure, axes = panels(len(logged), 3)
    for axis, (label, names) in zip(axes, logged.items(), strict=True):
        for place, run in enumerate(runs):
            for name in names:
                if points := run.log.get(name):
                    train = name.startswith("train")
                    line_label = plain(run.name) + (" (train)" if train else "")
                    marker = "." if len(points) < 40 and not train else ""
                    style = {"alpha": 0.35, "linewidth": 1} if train else {"marker": marker}
                    axis.plot(*zip(*points, strict=True), color=colour_of(place), label=line_label, **style)
        axis.set_xlabel("steps")
        axis.set_ylabel(label)
    add_legend(figure, ncols=2)
    return figure


@drawn
def parallel_coordinates(section: Section) -> Figure | None:
    """A line for each run, over the settings in which runs differ and their scores; None for few runs."""
    runs = section.runs
    if len(runs) <= MANY:
        return None
    styles = [
        {"linestyle": "--" if run.baseline else "-", "color": colour_of(place), "label": plain(run.name)}
        for place, run in enumerate(runs)
    ]
    return draw_coordinates([axis_of(name, values) for name, values in _columns(section).items()], styles)


def _columns(section: Section) -> dict[str, list[Any]]:
    """Name -> the value of each run: settings that differ, then scores."""
    leaves = [flatten(run.config.get("model", {})) for run in section.runs]
    names = dict.fromkeys(name for each in leaves for name in each)
    settings = {name: [each.get(name) for each in leaves] for name in names}
    differing = {name: values for name, values in settings.items() if len(set(map(str, values))) > 1}
    scores = {name: [number(each) for each in values] for name, values in section.scores.items() if name in _SCORES}
    scores = {name: values for name, values in scores.items() if None not in values}
    left = _AXES - len(scores)
    return dict(list(differing.items())[:left]) | scores


_UNFIT = (KeyError, TypeError, AttributeError, ValueError, IndexError)
"""Faults of results that were written by hand, or by another version."""

_STUDIES: dict[str, Callable[[Any, Any], Figure]] = {
    "dose-response": study_plots.draw_dose_response,
    "horizon": study_plots.draw_horizon,
    "recurrences": study_plots.draw_recurrences,
    "sweep": study_plots.draw_sweep,
}


def study_picture(study: StudySection) -> Markup:
    """The picture of a study; empty if it has none, or its scores do not fit."""
    if study.name not in _STUDIES:
        return Markup()
    try:
        of = study.found["details" if study.name == "sweep" else "scores"]
        return drawn(_STUDIES[study.name])(of, study.found["settings"])
    except _UNFIT:
        return Markup()


@drawn
def probe_picture(probe: ProbeSection) -> Figure | None:
    """The picture of a probe's details, a curve or bars; that of its scores if the details have none."""
    try:
        return _own_picture(probe) or intervals(probe)
    except _UNFIT:
        return intervals(probe)


def _own_picture(probe: ProbeSection) -> Figure | None:
    if "scales" in probe.details:
        return study_plots.draw_scales(probe.details)
    if "dropout" in probe.details:
        return study_plots.draw_dropout(probe.details)
    found = {name: probe.details.get(name) for name in _PANELS}
    found = {name: each for name, each in found.items() if isinstance(each, (list, dict)) and each}
    if not found:
        return None
    figure, axes = panels(len(found), 3.4)
    for axis, (name, each) in zip(axes, found.items(), strict=True):
        _PANELS[name](axis, each)
    return figure


def _reliability(axis: Axes, bins: Sequence[Mapping[str, float]]) -> None:
    axis.plot([0, 1], [0, 1], "--", color=COLOURS[-1], label="calibrated")
    axis.bar(
        [each["low"] for each in bins],
        [each["right"] for each in bins],
        [each["high"] - each["low"] for each in bins],
        align="edge",
        alpha=0.4,
        color=COLOURS[0],
    )
    axis.plot([each["sure"] for each in bins], [each["right"] for each in bins], "o", color=COLOURS[0], label="answers")
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axis.legend(fontsize=8)


def _risk_coverage(axis: Axes, points: Sequence[Mapping[str, float]]) -> None:
    axis.plot([each["coverage"] for each in points], [each["risk"] for each in points], color=COLOURS[1])
    axis.set(xlabel="coverage: share answered, most confident first", ylabel="risk: share wrong", xlim=(0, 1))
    axis.set_ylim(bottom=0)


def _objects(axis: Axes, objects: Mapping[str, Mapping[str, float]]) -> None:
    """Mentions of each object, and hallucinated ones."""
    mentions = {name: counts.get("mentions", counts.get("named", 0)) for name, counts in objects.items()}
    hallucinated = {name: counts.get("made_up", counts.get("hallucinated", 0)) for name, counts in objects.items()}
    order = sorted(objects, key=lambda name: (-hallucinated[name], -mentions[name], name))[:_BARS]
    _bars(axis, order, [hallucinated[name] for name in order], [mentions[name] for name in order])
    axis.set_xlabel("mentions (pale), hallucinated ones")


def _pairs(axis: Axes, pairs: Sequence[Mapping[str, Any]]) -> None:
    """The pairs with the most amplification."""
    measured = [pair for pair in pairs if number(pair.get("A_to_T")) is not None]
    order = sorted(measured, key=lambda pair: -abs(number(pair["A_to_T"]) or 0))[:_BARS]
    names = [f"{pair['attribute']}, {pair['task']}" for pair in order]
    _bars(axis, names, [number(pair["A_to_T"]) or 0 for pair in order])
    axis.set_xlabel("amplified, attribute to task")


def _drops(axis: Axes, types: Mapping[str, Mapping[str, Any]]) -> None:
    """The drop in accuracy of each question type with the image of another example."""
    view = next((each for each in next(iter(types.values())) if each.startswith("other")), None)
    view = view or next(iter(next(iter(types.values()))))
    drops = {name: number(views.get(view)) or 0 for name, views in types.items()}
    order = sorted(drops, key=lambda name: -drops[name])[:_BARS]
    _bars(axis, order, [drops[name] for name in order])
    axis.set_xlabel(f"drop: {view.replace('_', ' ')}")


def _bars(axis: Axes, names: Sequence[str], values: Sequence[float], behind: Sequence[float] = ()) -> None:
    places = range(len(names))
    if behind:
        axis.barh(places, behind, color=COLOURS[0], alpha=0.3)
    axis.barh(places, values, color=COLOURS[1])
    axis.set_yticks(places, [plain(name) for name in names], fontsize=8)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)


_PANELS: dict[str, Callable[[Axes, Any], None]] = {
    "curves": study_plots.draw_flow,
    "reliability": _reliability,
    "risk_coverage": _risk_coverage,
    "objects": _objects,
    "pairs": _pairs,
    "drop_per_question_type": _drops,
    "detectors": draw_detectors,
    "heat": draw_heat,
}

_INTERVAL_PANELS = 3
_ROWS = 15  # of a panel
_HUGE = 1e12  # not drawn as a score


def intervals(probe: ProbeSection) -> Figure | None:
    """A panel for each of the first scores that several groups have, with a row for each group; without these, one
    panel of all shares. None if no score has an interval."""
    shown = _rows_of_panels([row for row in probe.rows if _reach(row.score)])
    if not shown:
        return None
    figure, axes = panels(len(shown), 1.4 + 0.22 * max(map(len, shown.values())))
    for axis, (name, rows) in zip(axes, shown.items(), strict=True):
        _draw(axis, rows, [probe.run, *probe.baselines])
        axis.set_xlabel(plain(name))
    add_legend(figure, ncols=2)
    return figure


def _rows_of_panels(rows: Sequence[ProbeRow]) -> dict[str, dict[str, ProbeRow]]:
    """Score -> group -> its row."""
    found: dict[str, dict[str, ProbeRow]] = {}
    for row in rows:
        groups, _, name = row.label.rpartition(": ")
        found.setdefault(name, {})[groups.rpartition(": ")[2] or "all"] = row
    shared = {name: groups for name, groups in found.items() if len(groups) > 1}
    if shared:
        return {name: dict(list(groups.items())[:_ROWS]) for name, groups in list(shared.items())[:_INTERVAL_PANELS]}
    shares = {row.label: row for row in rows if max(map(abs, _reach(row.score) or ())) <= 1}
    return {"": dict(list(shares.items())[:_ROWS])} if shares else {}


def _draw(axis: Axes, rows: Mapping[str, ProbeRow], names: Sequence[str]) -> None:
    for place, name in enumerate(names[1:]):
        points = [(_drawable(row.baseline_scores[place]), y) for y, row in enumerate(rows.values())]
        present = [(value, y) for value, y in points if value is not None]
        if present:
            colour = colour_of(place + 1)
            axis.plot(*zip(*present, strict=True), "|", color=colour, markersize=9, mew=2, label=plain(name))
    ends = [_reach(row.score) or (0.0, 0.0) for row in rows.values()]
    axis.hlines(range(len(rows)), [low for low, _ in ends], [high for _, high in ends], color=COLOURS[0])
    values = [number(row.score) or 0.0 for row in rows.values()]
    axis.plot(values, range(len(rows)), "o", color=COLOURS[0], label=plain(names[0]))
    axis.set_yticks(range(len(rows)), [plain(name) for name in rows], fontsize=8)
    axis.margins(y=0.5 / len(rows))
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)


def _reach(score: Any) -> tuple[float, float] | None:
    if _drawable(score) is None or not isinstance(score, Mapping):
        return None
    low, high = _drawable(score.get("low")), _drawable(score.get("high"))
    return None if low is None or high is None else (low, high)


def _drawable(score: Any) -> float | None:
    value = number(score)
    return value if value is not None and abs(value) < _HUGE else None

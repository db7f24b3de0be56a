"""Scores with their intervals, and those of chance beside them, on one scale: the picture of a probe that has none of
its own. Knows the rows of a probe, not what they mean."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlrnn.report.drawing import COLOURS, plain
from vlrnn.report.probed import Probed, ProbeRow, number

_PANELS = 3
_ROWS = 15  # of a panel
_HUGE = 1e12  # no score; nor is what is no number


def intervals(probe: Probed) -> Figure | None:
    """A panel for each of the first scores that several groups have, with a row for each group; where there is none,
    one panel of all that is a share. None where no score has an interval."""
    panels = _panels([row for row in probe.rows if _reach(row.score)])
    if not panels:
        return None
    most = max(map(len, panels.values()))
    figure = Figure(figsize=(4.6 * len(panels), 1.4 + 0.22 * most), layout="constrained")
    for axis, (name, rows) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        _draw(axis, rows, [probe.run, *probe.baselines])
        axis.set_xlabel(plain(name))
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _panels(rows: Sequence[ProbeRow]) -> dict[str, dict[str, ProbeRow]]:
    """Score -> group -> its row."""
    found: dict[str, dict[str, ProbeRow]] = {}
    for row in rows:
        groups, _, name = row.label.rpartition(": ")
        found.setdefault(name, {})[groups.rpartition(": ")[2] or "all"] = row
    shared = {name: groups for name, groups in found.items() if len(groups) > 1}
    if shared:
        return {name: dict(list(groups.items())[:_ROWS]) for name, groups in list(shared.items())[:_PANELS]}
    shares = {row.label: row for row in rows if max(map(abs, _reach(row.score) or ())) <= 1}
    return {"": dict(list(shares.items())[:_ROWS])} if shares else {}


def _draw(axis: Axes, rows: Mapping[str, ProbeRow], names: Sequence[str]) -> None:
    for place, name in enumerate(names[1:]):
        points = [(_drawable(row.beside[place]), y) for y, row in enumerate(rows.values())]
        there = [(value, y) for value, y in points if value is not None]
        if there:
            colour = COLOURS[(place + 1) % len(COLOURS)]
            axis.plot(*zip(*there, strict=True), "|", color=colour, markersize=9, mew=2, label=plain(name))
    ends = [_reach(row.score) or (0.0, 0.0) for row in rows.values()]
    axis.hlines(range(len(rows)), [low for low, _ in ends], [high for _, high in ends], color=COLOURS[0])
    values = [number(row.score) or 0.0 for row in rows.values()]
    axis.plot(values, range(len(rows)), "o", color=COLOURS[0], label=plain(names[0]))
    axis.set_yticks(range(len(rows)), [plain(name) for name in rows], fontsize=8)
    axis.margins(y=0.5 / len(rows))
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)


def _reach(score: Any) -> tuple[float, float] | None:
    """The ends of a score's interval."""
    if _drawable(score) is None or not isinstance(score, Mapping):
        return None
    low, high = _drawable(score.get("low")), _drawable(score.get("high"))
    return None if low is None or high is None else (low, high)


def _drawable(score: Any) -> float | None:
    value = number(score)
    return value if value is not None and abs(value) < _HUGE else None

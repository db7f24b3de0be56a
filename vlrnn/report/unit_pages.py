"""Hidden units over a text, as a page and as pictures: each character or word coloured by the unit's activation.
Reads the details of `vlrnn probe units`; independent of models.

Heat is `{"passages": [{"id", "units"}], "running", "rows": [...]}`; a row has `unit`, its `property`, `sign` and
`held_out` of that, and for each passage a string of `levels`, a letter for each of its units from `a` (lowest) over `k`
(the unit's median) to `u` (highest), and one of `holds`, 1 where the property holds.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from vlrnn.errors import UserError
from vlrnn.files import replacing
from vlrnn.report.drawing import COLOURS, plain, templates, with_errors

_ZERO = ord("k")  # the level of the median, with ten levels on each side
_STRONGEST = 0.75  # opacity of the strongest colour: text stays readable under it
_MORE, _LESS = to_rgb(COLOURS[0]), to_rgb(COLOURS[1])

_COLUMNS, _LINES, _ROWS = 100, 5, 6  # of a picture: characters of a line, lines of a unit, units
_PLACES = 40  # of the small picture of a report


class Cell(NamedTuple):
    """Some text, the `level` of a unit over it, -10 to 10, and whether the property `holds`."""

    text: str
    level: int
    holds: bool


def cells(heat: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[list[Cell]]:
    """The cells of each passage, one for each unit of its text."""
    for passage, levels, holds in zip(heat["passages"], row["levels"], row["holds"], strict=True):
        flags = (each == "1" for each in holds.ljust(len(levels), "0"))
        yield [
            Cell(text, ord(level) - _ZERO, flag)
            for text, level, flag in zip(passage["units"], levels, flags, strict=True)
        ]


def described(row: Mapping[str, Any]) -> str:
    """The property of a unit, and its AUC."""
    if not row["property"]:
        return ""
    detects = row["property"] if row["sign"] > 0 else f"not {row['property']}"
    return f"{detects}, AUC {row['held_out']:.3f} where held out"


def page_file(path: Path) -> Path:
    """The path of a page.

    Raises:
        UserError: its suffix is not .html.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--page {path}: end the name in .html")
    return path


def save_page(path: Path, heat: Mapping[str, Any], title: str) -> None:
    """Write a self-contained page: the text, coloured by each unit."""
    shown = [
        {
            "unit": row["unit"],
            "described": described(row),
            "median": row["median"],
            "scale": row["scale"],
            "passages": [
                {"id": passage["id"], "runs": _runs(each)}
                for passage, each in zip(heat["passages"], cells(heat, row), strict=True)
            ],
        }
        for row in heat["rows"]
    ]
    colours = [(name, [round(255 * part) for part in colour]) for name, colour in (("p", _MORE), ("n", _LESS))]
    text = (
        templates()
        .get_template("hidden_units.html")
        .render(title=title, rows=shown, running=heat["running"], colours=colours, strongest=_STRONGEST)
    )
    with replacing(path) as file:
        file.write(text)


def _runs(passage: Sequence[Cell]) -> list[dict[str, Any]]:
    """Neighbours of the same classes, merged: their text and classes."""
    runs = []
    for (level, holds), same in groupby(passage, key=lambda cell: (cell.level, cell.holds)):
        colour = f"{'p' if level > 0 else 'n'}{abs(level)}" if level else ""
        runs.append({"text": "".join(cell.text for cell in same), "classes": f"{colour}{' h' * holds}".strip()})
    return runs


def draw_passages(heat: Mapping[str, Any]) -> Figure:
    """The beginning of the text under the first units."""
    rows = heat["rows"][:_ROWS]
    grids = [_grid(heat, row) for row in rows]
    lines = max(map(len, grids), default=1)
    figure = Figure(figsize=(9, 0.4 + max(1, len(rows)) * (0.32 + 0.19 * lines)), layout="constrained")
    for axis, row, grid in zip(figure.subplots(max(1, len(rows)), 1, squeeze=False)[:, 0], rows, grids, strict=False):
        axis.set_title(f"{row['unit']}  {described(row)}".strip(), fontsize=9, loc="left", parse_math=False)
        _draw_lines(axis, grid, lines)
    figure.supxlabel("blue: above the unit's median, orange: below; underlined: where the property holds", fontsize=8)
    return figure


def _grid(heat: Mapping[str, Any], row: Mapping[str, Any]) -> list[list[Cell]]:
    """Lines of cells of one character each, broken at line ends of the text and when full."""
    lines: list[list[Cell]] = [[]]
    for passage in cells(heat, row):
        if not heat["running"] and lines[-1]:
            lines.append([])
        for cell in passage:
            for letter in cell.text:
                if letter == "\n" or len(lines[-1]) == _COLUMNS:
                    lines.append([])
                if letter != "\n":
                    lines[-1].append(cell._replace(text=letter))
        if len(lines) > _LINES:
            break
    return lines[:_LINES]


def _draw_lines(axis: Axes, grid: Sequence[Sequence[Cell]], lines: int) -> None:
    colours = np.zeros((lines, _COLUMNS, 4))
    style: dict[str, Any] = {"ha": "center", "va": "center", "family": "monospace", "fontsize": 9, "parse_math": False}
    style["in_layout"] = False  # a layout of thousands of letters takes seconds
    for number, line in enumerate(grid):
        for column, cell in enumerate(line):
            colours[number, column] = _colour(cell.level)
            axis.text(column, number, cell.text if cell.text.isprintable() else "?", **style)
            if cell.holds:
                axis.hlines(number + 0.45, column - 0.5, column + 0.5, color="black", linewidth=0.8)
    axis.imshow(colours, aspect="auto", interpolation="nearest")
    axis.axis("off")


def _colour(level: int) -> tuple[float, float, float, float]:
    return (*(_MORE if level > 0 else _LESS), _STRONGEST * abs(level) / 10)


def draw_heat(axis: Axes, heat: Mapping[str, Any]) -> None:
    """The first positions of the text, coloured by each unit."""
    rows = heat.get("rows", ())
    shown = [[cell for passage in cells(heat, row) for cell in passage][:_PLACES] for row in rows]
    if not shown or not shown[0]:
        axis.axis("off")
        return
    axis.pcolormesh(np.array([[_colour(cell.level) for cell in each] for each in shown]))
    axis.set_yticks(np.arange(len(rows)) + 0.5, [row["unit"] for row in rows], fontsize=7)
    texts = [cell.text.replace("\n", "↵") for cell in shown[0]]
    words = any(len(text) > 1 for text in texts)
    axis.set_xticks(np.arange(len(texts)) + 0.5, [plain(text) for text in texts], fontsize=6, rotation=90 * words)
    axis.tick_params(length=0)
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.set_title("blue: above the median, orange: below", fontsize=8)


def draw_detectors(axis: Axes, detectors: Mapping[str, Mapping[str, Any]]) -> None:
    """The AUC of the best unit of each property, on the held-out half; as ticks the AUC by chance on the other half."""
    names = list(detectors)
    scores = [detectors[name]["held_out"] for name in names]
    places = np.arange(len(names))
    values, reach = with_errors(scores)
    axis.barh(places, values, xerr=reach, color=COLOURS[0], alpha=0.7)
    others = [(place, detectors[name].get("other_passages")) for place, name in zip(places, names, strict=True)]
    chance = [(each["value"], place) for place, each in others if each]
    if chance:
        axis.plot(*zip(*chance, strict=True), "|", color=COLOURS[1], markersize=12)
    labels = [f"{plain(name)} ({detectors[name]['units'][0]['unit']})" for name in names]
    axis.set_yticks(places, labels, fontsize=8)
    axis.set_xlim(min([0.5, *(each["low"] for each in scores)]), 1)
    axis.set_xlabel("AUC of the best unit, held out (orange: the best\nfor other passages, where it is chosen)")
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)

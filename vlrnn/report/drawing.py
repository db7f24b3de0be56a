"""Pictures of numbers as SVG that takes its ink from the page, so that it is readable in light and in dark.
Independent of runs."""

import io
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from warnings import catch_warnings, simplefilter

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from vlrnn.errors import UserError
from vlrnn.files import replacing

COLOURS = ("#3b82c4", "#e07b39", "#2f9e78", "#b565c9", "#c4453b", "#8f7f2a", "#5f6bd0", "#7a7a7a")
"""Of runs, in their order; each contrasts with the page in light and in dark."""

_KINDS = (".png", ".svg", ".pdf")

_LONG = 48  # letters of a label
_LEAST = 0.75  # of its own width, which a picture is shown in
_INK = "#010203"  # stands for the colour of the page's text
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "font.size": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.color": _INK,
    "legend.frameon": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), _INK
    ),
}

Arguments = ParamSpec("Arguments")


def drawn(draw: Callable[Arguments, Figure | None]) -> Callable[Arguments, Markup]:
    """Make a function that draws a figure return it as SVG; of no figure, nothing."""

    @wraps(draw)
    def as_svg(*arguments: Arguments.args, **named: Arguments.kwargs) -> Markup:
        with rc_context(_STYLE):
            figure = draw(*arguments, **named)
            if figure is None:
                return Markup()
            held = io.StringIO()
            with catch_warnings():  # of letters that matplotlib's font lacks; the browser has others
                simplefilter("ignore", UserWarning)
                # Without metadata, which would name the day and a few web addresses.
                figure.savefig(held, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        text = held.getvalue()
        text = text[text.index("<svg") :].replace(_INK, "currentColor")
        # A narrow page scrolls rather than make the text smaller than can be read.
        return Markup(text.replace("<svg", f'<svg style="min-width:{_LEAST * figure.get_figwidth():.1f}in"', 1))

    return as_svg


def picture_file(path: Path) -> Path:
    """The path, of a picture that can be written.

    Raises:
        UserError: its suffix is that of no kind of picture.
    """
    if path.suffix.lower() not in _KINDS:
        raise UserError(f"{path}: pictures are written as one of {', '.join(_KINDS)}")
    return path


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as the kind of picture that the file's suffix names."""
    with replacing(path, binary=True) as file:
        figure.savefig(file, format=picture_file(path).suffix.lower().removeprefix("."), dpi=150)


def plain(name: str) -> str:
    """A name from the data, as a label: what stands between two dollars would be taken for a formula, legends leave out
    what begins with an underscore, and a long one, which is cut amid, takes the place of what is drawn."""
    if len(name) > _LONG:
        name = f"{name[: _LONG // 3]}…{name[-_LONG // 2 :]}"
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def number(score: Any) -> float | None:
    """The value of a score, which may be a plain number or one with an interval; None of anything else."""
    value = score.get("value") if isinstance(score, Mapping) else score
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

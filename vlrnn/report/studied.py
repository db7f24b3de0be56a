"""What a study found, as a report tells it: a row for each group of its scores, a column for each score. Knows the form
of a finding; of studies only whose picture is drawn by what."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from vlrnn.report.dose_response import draw_dose_response
from vlrnn.report.drawing import drawn
from vlrnn.report.horizon import draw_horizon
from vlrnn.report.probed import number
from vlrnn.report.recurrences import draw_recurrences
from vlrnn.report.sweep import draw_sweep
from vlrnn.runs import read_result


@dataclass(frozen=True)
class Studied:
    """A study: its name, its folder, and rows of a group's name and its score in each of the columns, None where it has
    none. `found` is all of its `metrics.json`, which a picture is drawn from."""

    name: str
    folder: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Any]]]
    notes: Sequence[str]
    settings: Mapping[str, Any]
    found: Mapping[str, Any]


def load_study(folder: str | Path) -> Studied | None:
    """Read the folder of a study; None where it is that of something else.

    Raises:
        UserError: its `metrics.json` is broken.
    """
    path = Path(folder) / "metrics.json"
    found = read_result(path) if path.is_file() else {"scores": {}, "settings": {}}
    name = found["settings"].get("study")
    if not isinstance(name, str):
        return None
    groups: dict[str, dict[str, Any]] = {}
    for place, score in _scores(found["scores"]):
        groups.setdefault(": ".join(place[:-1]), {})[place[-1]] = score
    columns = list(dict.fromkeys(column for scores in groups.values() for column in scores))
    rows = [(group, [scores.get(column) for column in columns]) for group, scores in groups.items()]
    notes = [str(note) for note in found.get("notes", ())]
    return Studied(name, str(folder), columns, rows, notes, found["settings"], found)


def _scores(tree: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if number(tree) is not None:
        yield place or ("",), tree
    elif isinstance(tree, Mapping):
        for name, each in tree.items():
            yield from _scores(each, (*place, str(name)))


def study_picture(study: Studied) -> Markup:
    """What the study's own picture shows; nothing of a study that has none, or whose scores it cannot be drawn from."""
    draw = _PICTURES.get(study.name)
    try:
        return drawn(draw)(study.found) if draw else Markup()
    except (KeyError, TypeError, AttributeError, ValueError, IndexError):  # written by hand, or by another version
        return Markup()


def _of_scores(draw: Callable[[Any, Any], Figure]) -> Callable[[Any], Figure]:
    return lambda found: draw(found["scores"], found["settings"])


_PICTURES: dict[str, Callable[[Any], Figure]] = {
    "dose-response": _of_scores(draw_dose_response),
    "horizon": _of_scores(draw_horizon),
    "recurrences": _of_scores(draw_recurrences),
    "sweep": lambda found: draw_sweep(found["details"], found["settings"]),
}

"""Recorded passages in two halves: hidden units are chosen on one and evaluated on the other.

Shapes: N positions, S passages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vlrnn.probes.detection import ActivationSet, Detection, Flags, Unit
from vlrnn.probes.model.activations import Activations, Passage
from vlrnn.probes.text_properties import Property, Values, at_units

SHOWN_PLACES = 2000
"""Characters or words of a text in a page or picture."""

LEVELS = "abcdefghijklmnopqrstu"
"""Letters that encode activations: `k` is the unit's median, `a` the lowest level below it, `u` the highest above."""

_EXCERPT = 30  # characters


class PassageSplit(NamedTuple):
    """One half of the recorded passages: its `passages`, their positions in the whole, `places` [N], their activations,
    `part`, and whether each passage continues the one before."""

    passages: list[Passage]
    places: np.ndarray
    part: ActivationSet
    running: bool

    def passage(self, place: int) -> Passage:
        """The passage of a position."""
        return self.passages[self._number(place)]

    def until(self, place: int) -> str:
        """The excerpt that ends at a position."""
        number = self._number(place)
        before = self.passages[number - 1].units if number and self.running else ()
        count = place - int(self.part.starts[number]) + 1
        text = "".join([*before, *self.passages[number].units[:count]])
        return text[-_EXCERPT:].strip(" ").replace("\n", "↵")

    def _number(self, place: int) -> int:
        return int(np.searchsorted(self.part.starts, place, side="right")) - 1


@dataclass(frozen=True)
class PropertyLabels:
    """A property in both halves: its `values`, and where it holds, `flags`; a numeric property holds above `threshold`,
    which is None for a boolean one."""

    values: tuple[Values, Values]
    flags: tuple[Flags, Flags]
    threshold: float | None


def split_passages(recorded: Activations, seed: int) -> tuple[PassageSplit, PassageSplit]:
    """The first and the second half of a text's passages; or two random halves of the images."""
    groups = np.unique([each.group for each in recorded.passages])
    if not recorded.running:
        groups = np.random.default_rng(seed).permutation(groups)
    middle = len(groups) // 2
    return _split(recorded, groups[:middle].tolist()), _split(recorded, groups[middle:].tolist())


def _split(recorded: Activations, groups: Sequence[int]) -> PassageSplit:
    order = {group: place for place, group in enumerate(groups)}
    mine = [number for number, each in enumerate(recorded.passages) if each.group in order]
    mine.sort(key=lambda number: order[recorded.passages[number].group])
    lengths = np.array([len(each.units) for each in recorded.passages])
    starts = np.cumsum(lengths) - lengths
    places = np.concatenate([np.arange(starts[number], starts[number] + lengths[number]) for number in mine])
    passages = [recorded.passages[number] for number in mine]
    part = ActivationSet(
        recorded.activations[places], lengths[mine], np.array([order[each.group] for each in passages])
    )
    return PassageSplit(passages, places, part, recorded.running)


def label_properties(
    recorded: Activations, properties: Mapping[str, Property], choose: PassageSplit, held: PassageSplit
) -> tuple[dict[str, PropertyLabels], dict[str, str]]:
    """The properties that can be detected; of the others the reason."""
    labels, not_computed = {}, {}
    for name, held_by in properties.items():
        values = np.concatenate([at_units(held_by, each) for each in recorded.pieces])
        first, second = values[choose.places], values[held.places]
        threshold = None if values.dtype == bool else float(np.median(first))
        flags = (first, second) if threshold is None else (first > threshold, second > threshold)
        if reason := _undetectable(*flags):
            not_computed[name] = reason
        else:
            labels[name] = PropertyLabels((first, second), flags, threshold)
    return labels, not_computed


def _undetectable(choose: Flags, held: Flags) -> str:
    """Why a property cannot be detected; "" where it can."""
    for part_name, flags in (
        ("the input", np.concatenate([choose, held])),
        ("the half for selection", choose),
        ("the held-out half", held),
    ):
        if flags.all() or not flags.any():
            return f"holds {'everywhere' if flags.all() else 'nowhere'} in {part_name}"
    return ""


def unit_of(detection: Detection, number: int) -> Unit:
    """The unit of this number."""
    return next(each for each in detection.units if each.number == number)


def activation_levels(
    recorded: Activations,
    held: PassageSplit,
    rows: Sequence[tuple[int, str]],
    found: Mapping[str, Detection],
    labels: Mapping[str, PropertyLabels],
) -> dict[str, Any]:
    """The first held-out passages, one of each image, and the activations of units over them: `levels`, a letter of
    `LEVELS` for each position, and where the property of the unit `holds`."""
    _, first = np.unique(held.part.groups, return_index=True)  # passages of the same image are much alike
    shown = first[: max(1, int((np.cumsum(held.part.lengths[first]) <= SHOWN_PLACES).sum()))].tolist()
    starts = held.part.starts.tolist()
    spans = [slice(starts[number], starts[number] + len(held.passages[number].units)) for number in shown]
    places = np.concatenate([np.arange(span.start, span.stop) for span in spans])
    rendered = []
    for number, name in rows:
        unit = unit_of(found[name], number) if name else None
        values = held.part.activations[:, number]
        median = float(np.median(values))  # cells may be far from zero all the time
        scale = float(np.quantile(np.abs(values[places] - median), 0.99)) or 1.0
        shares = np.clip((values - median) / scale, -1, 1).tolist()
        levels = "".join(LEVELS[round(10 * share) + 10] for share in shares)
        holds = "".join(map(str, labels[name].flags[1].astype(int).tolist())) if name else ""
        rendered.append(
            {
                "unit": recorded.names[number],
                "property": name,
                "sign": unit.sign if unit else 0,
                "held_out": unit.held_out if unit else None,
                "median": median,
                "scale": scale,
                "levels": [levels[span] for span in spans],
                "holds": [holds[span] for span in spans],
            }
        )
    passages = [{"id": each.id, "units": _compact(each.units)} for each in (held.passages[number] for number in shown)]
    return {"passages": passages, "rows": rendered, "running": recorded.running}


def _compact(units: Sequence[str]) -> str | list[str]:
    """Units for a file: those of one character as one string."""
    return "".join(units) if all(len(unit) == 1 for unit in units) else list(units)

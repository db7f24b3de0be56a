"""Detection of properties by single units: units are selected by AUC on one part of the data and tested on another.

The area under the ROC curve is the probability that a unit is more active at a place with the property than at one
without, ties counting half: 0.5 by chance (Hanley and McNeil, Radiology 1982). The maximum over many units exceeds this
by chance, so the same selection is repeated with the properties of other passages.

Shapes: N places, S passages, U units, P properties.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlrnn.metrics.statistics import Floats, Resampler, interval

Flags = NDArray[np.bool_]

ROLLS = 20
"""Number of shifts of properties to other passages."""

_CELLS = 2_000_000  # places that are resampled at a time


class ActivationSet:
    """Activations of units over concatenated passages.

    Args:
        activations: [N, U].
        lengths: [S], places of each passage.
        groups: [S], numbers; consecutive passages of one number are resampled together.
    """

    def __init__(self, activations: NDArray[Any], lengths: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
        self.activations = activations
        self.lengths = lengths
        self.starts = np.cumsum(lengths) - lengths
        _, self.groups = np.unique(groups, return_inverse=True)
        self._levels = np.empty(activations.shape[::-1], np.int32)  # [U, N], ranks of distinct values
        for levels, column in zip(self._levels, activations.T, strict=True):
            levels[:] = np.unique(column, return_inverse=True)[1]

    def __len__(self) -> int:
        return len(self.activations)

    def aucs(self, flags: Flags, places: NDArray[np.int64] | None = None) -> Floats:
        """The AUC [P, U] of each unit for properties [P, N]; NaN for one that holds at all places, or at none.

        Args:
            flags: where the properties hold; with `places` [M], at these only: [P, M].
            places: indices of the places that are used; None: all.
        """
        levels = self._levels if places is None else self._levels[:, places]
        positive = flags.sum(1)
        pairs = positive * (flags.shape[1] - positive)
        above = np.empty((len(flags), len(levels)))
        held = flags.astype(np.float64)
        for unit, each in enumerate(levels):
            counts = np.bincount(each)
            ranks = (np.cumsum(counts) - (counts - 1) / 2)[each]  # ties have their mean rank
            above[:, unit] = held @ ranks - positive * (positive + 1) / 2
        with np.errstate(invalid="ignore"):
            return above / pairs[:, None]

    def resampled(self, unit: int, flags: Flags, resamples: int, seed: int) -> Floats:
        """The AUC of a unit for a property [N] on each resampled set of groups; without sets in which the property
        holds at all places, or at none."""
        order = np.argsort(self._levels[unit], kind="stable")
        levels = self._levels[unit, order]
        starts = np.flatnonzero(np.append(True, levels[1:] != levels[:-1]))
        group_of = np.repeat(self.groups, self.lengths)[order]
        sides = flags[order], ~flags[order]
        found = []
        resampler, step = Resampler(int(self.groups.max()) + 1, resamples, seed), max(1, _CELLS // len(self))
        for counts in (part for each in resampler.counts() for part in np.split(each, range(step, len(each), step))):
            weights = counts[:, group_of]
            positive, negative = (np.add.reduceat(weights * side, starts, axis=1) for side in sides)
            above = (positive * (negative.cumsum(1) - negative / 2)).sum(1)
            pairs = positive.sum(1) * negative.sum(1)
            found.append(above[pairs > 0] / pairs[pairs > 0])
        return np.concatenate(found)

    def rolls(self, count: int, random: np.random.Generator) -> list[int]:
        """Up to `count` random shifts, in passages, by which no property stays within its group."""
        least = int(np.bincount(self.groups).max())
        possible = np.arange(least, len(self.lengths) - least + 1)
        return random.permutation(possible)[:count].tolist()

    def rolled(self, by: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Assign to each passage the properties of the passage `by` later, place by place, up to the shorter length.

        Returns:
            the indices of the places [M], and of the places whose property they get [M].
        """
        shorter = np.minimum(self.lengths, np.roll(self.lengths, -by))
        within = np.arange(shorter.sum()) - np.repeat(np.cumsum(shorter) - shorter, shorter)
        here, shifted = (np.repeat(starts, shorter) + within for starts in (self.starts, np.roll(self.starts, -by)))
        return here, shifted


class Unit(NamedTuple):
    """Number of a unit, its sign (+1 if it is active where the property holds, -1 where it does not), and its AUC with
    this sign: in the part for selection, and in the held-out part."""

    number: int
    sign: int
    chosen: float
    held_out: float


@dataclass(frozen=True)
class Detection:
    """The units that detect a property.

    Attributes:
        units: all, best first, by the part for selection.
        chosen, held_out: AUC of the best unit, `{"value", "low", "high", "n"}`, in the two parts.
        rolled: held-out AUC of units selected and tested for the property of other passages: the mean over shifts, and
            the interval of 95 % of them. Empty if there is no valid shift, or shifting does not change the property.
    """

    units: list[Unit]
    chosen: Mapping[str, float | int]
    held_out: Mapping[str, float | int]
    rolled: Mapping[str, Mapping[str, float | int]]


def detect(
    choose: ActivationSet,
    held: ActivationSet,
    properties: Mapping[str, tuple[Flags, Flags]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Detection]:
    """The units that detect each property.

    Args:
        choose: the part for selection.
        held: the held-out part.
        properties: name -> where it holds in the two parts, [N] each; at some but not all places of both.
        resamples, seed: of the bootstrap over groups; the seed also of the shifts.
    """
    if not properties:
        return {}
    flags = [np.stack(each) for each in zip(*properties.values(), strict=True)]
    chosen, held_aucs = choose.aucs(flags[0]), held.aucs(flags[1])
    rolled = _rolled(choose, held, flags[0], flags[1], seed)
    found = {}
    for place, name in enumerate(properties):
        units = _ranked(chosen[place], held_aucs[place])
        best = units[0]
        scores = []
        for part, flag, value in ((choose, flags[0], best.chosen), (held, flags[1], best.held_out)):
            samples = part.resampled(best.number, flag[place], resamples, seed)
            scores.append(interval(value, samples if best.sign > 0 else 1 - samples, len(part)))
        found[name] = Detection(units, scores[0], scores[1], rolled[place])
    return found


def _ranked(chosen: Floats, held_out: Floats) -> list[Unit]:
    """All units, by the distance of their AUC from 0.5."""
    units = []
    for number in np.argsort(-np.abs(chosen - 0.5), kind="stable").tolist():
        one, other = float(chosen[number]), float(held_out[number])
        units.append(Unit(number, 1, one, other) if one >= 0.5 else Unit(number, -1, 1 - one, 1 - other))
    return units


def _rolled(
    choose: ActivationSet, held: ActivationSet, chosen: Flags, held_flags: Flags, seed: int
) -> list[dict[str, Any]]:
    """`Detection.rolled` of each property [P]."""
    random = np.random.default_rng(seed)
    drawn: list[list[Unit]] = [[] for _ in chosen]
    for by, other in zip(choose.rolls(ROLLS, random), held.rolls(ROLLS, random), strict=False):
        (here, of), (held_here, whose) = choose.rolled(by), held.rolled(other)
        first, second = choose.aucs(chosen[:, of], here), held.aucs(held_flags[:, whose], held_here)
        for place, units in enumerate(drawn):
            own = bool((chosen[place, of] == chosen[place, here]).all())
            if np.isfinite([first[place], second[place]]).all() and not own:
                units.append(_ranked(first[place], second[place])[0])
    found = []
    for units in drawn:
        values = {name: np.array([getattr(each, name) for each in units]) for name in ("chosen", "held_out")}
        found.append({name: interval(float(each.mean()), each, len(each)) for name, each in values.items() if units})
    return found

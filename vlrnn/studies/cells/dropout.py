"""The difference of training and evaluation under dropout: in activations, by both conventions, and in the state of a
recurrence.

Sources: Srivastava et al., Dropout, JMLR 2014; Wang and Manning, Fast dropout training, ICML 2013 (sums of many dropped
numbers are nearly normal); Gal and Ghahramani, A theoretically grounded application of dropout in recurrent neural
networks, NeurIPS 2016 (one mask for a sequence).

Shapes: M masks, B rows, D width, K steps, L layers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.metrics.statistics import MeansByImage, bootstrap_settings
from vlrnn.nn.recurrent.base import require_causal
from vlrnn.nn.recurrent.spec import named_cell
from vlrnn.probes.finding import Finding, constant_score
from vlrnn.progress import track
from vlrnn.studies.fitting import one_thread, require_least

_ROWS, _MASKS = 32, 100
_NODES = 32  # of an integral


class Convention(NamedTuple):
    """Dropout of a share p of values: in `training` by a mask, 1 or 0, and in `evaluation`."""

    training: Callable[[Tensor, Tensor, float], Tensor]
    evaluation: Callable[[Tensor, float], Tensor]


CONVENTIONS = {
    "classic": Convention(lambda values, mask, p: values * mask, lambda values, p: values * (1 - p)),
    "inverted": Convention(lambda values, mask, p: values * mask / (1 - p), lambda values, p: values),
}
"""`classic` is Srivastava's, section 4; `inverted` is torch's, and that of all vlrnn."""

NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh}


@dataclass(frozen=True)
class DropoutPlan:
    """The settings of the measurement.

    Args:
        rates: dropout probabilities p.
        cell: a recurrence by its name, see `vlrnn.nn.recurrent.spec`; dropout is between its layers.
        steps: of a recurrence.
        width: of activations and states.
        draws: of values, weights and masks.
    """

    rates: Sequence[float] = (0.1, 0.3, 0.5)
    cell: str = "lstm"
    steps: int = 10
    width: int = 128
    draws: int = 10

    def __post_init__(self) -> None:
        if not self.rates or not all(0 <= rate < 1 for rate in self.rates):
            raise UserError("--rates need at least one, each from 0 to below 1")
        require_least(self, steps=1, width=2, draws=1)


_SHARES = ("mean", "mean square", *(f"behind {name}" for name in NONLINEARITIES))
_GROUPS = {"cosine": "alike", "mean": "mean state"}


class Carried(NamedTuple):
    """A state with dropout compared with the same without, after 0..K steps [1 + K], means over rows: the square of
    their `cosine`, and the projection of the one on the other as a share, `mean`."""

    cosine: np.ndarray
    mean: np.ndarray


@one_thread()
def dropout(plan: DropoutPlan, *, resamples: int = 1000, seed: int = 0) -> Finding:
    """How does dropout change activations, in both of its conventions, and the state of a recurrence over steps?

    Values are the positive parts of normal numbers. A nonlinearity follows a layer of as many units, with normal
    weights of the mean square 2 / D.

    Returns:
        of each convention the `mean` of values, and their `mean square`, by rate, in training and in evaluation, as
        shares of those without dropout; and the mean over masks `behind relu` and `behind tanh` in training, as a share
        of evaluation. By rate, how far states are `alike` after all steps, and their `mean state` (`cosine` and `mean`
        of `Carried`). The baseline `theory` has the expected values, if any. `details` have all steps.

    Raises:
        UserError: there is no such cell, or it is not causal.
    """
    require_causal(named_cell(plan.cell, plan.width, hidden_size=plan.width, num_layers=2))
    means = MeansByImage(list(range(plan.draws)), resamples, seed)
    groups = [f"{what}, {name}" for what in _SHARES for name in CONVENTIONS]
    scores: dict[str, Any] = {group: {} for group in groups}
    theory: dict[str, Any] = {group: {} for group in groups}
    curves: dict[str, Any] = {}
    for rate in track(plan.rates, "rates"):
        drawn = [_shares(rate, plan.width, seed + draw) for draw in range(plan.draws)]
        for found, shares in zip((scores, theory), zip(*drawn, strict=True), strict=True):
            for group in groups:
                rows = shares[0][group]
                found[group] |= means.of({row: np.array([each[group][row] for each in shares]) for row in rows})
    lines = _lines(scores, theory)
    for rate in track(plan.rates, "rates"):
        states = _states(plan, rate, seed)
        for what, expected in _expected(plan, rate).items():
            group = f"{_GROUPS[what]}, p = {rate:g}"
            along = {way: np.stack([getattr(each, what) for each in drawn]) for way, drawn in states.items()}
            scores[group] = means.of({way: each[:, -1] for way, each in along.items()})
            theory[group] = {way: constant_score(float(each[-1])) for way, each in expected.items()}
            curves[group] = {way: {"measured": each.mean(0).tolist()} for way, each in along.items()}
            for way, each in expected.items():
                curves[group][way]["theory"] = each.tolist()
    return Finding(
        scores=scores,
        settings={**vars(plan), "rows": _ROWS, "masks": _MASKS, **bootstrap_settings(resamples, seed, "draws")},
        baselines={"theory": theory},
        details={"dropout": {"rates": list(plan.rates), "activations": lines, "states": curves}},
    )


SurvivalShares = dict[str, dict[str, float]]
"""Group -> row -> a share."""


def _shares(rate: float, width: int, seed: int) -> tuple[SurvivalShares, SurvivalShares]:
    """The measured and the expected shares of one draw of values, weights and masks."""
    torch.manual_seed(seed)
    values = torch.randn(_ROWS, width, dtype=torch.float64).relu()
    weight = torch.randn(width, width, dtype=torch.float64) * (2 / width) ** 0.5
    masks = (torch.rand(_MASKS, _ROWS, width, dtype=torch.float64) >= rate).double()
    measured: SurvivalShares = {}
    theory: SurvivalShares = {}
    for name, convention in CONVENTIONS.items():
        modes = {
            f"p = {rate:g}, training": convention.training(values, masks, rate),
            f"p = {rate:g}, evaluation": convention.evaluation(values, rate),
        }
        trained, evaluated = modes.values()
        scale = float(convention.evaluation(torch.ones(()), rate))
        measured[f"mean, {name}"] = {mode: float(each.mean() / values.mean()) for mode, each in modes.items()}
        theory[f"mean, {name}"] = dict.fromkeys(modes, scale)
        squares = {mode: float(each.square().mean() / values.square().mean()) for mode, each in modes.items()}
        measured[f"mean square, {name}"] = squares
        theory[f"mean square, {name}"] = dict(zip(modes, (scale**2 / (1 - rate), scale**2), strict=True))
        sums = evaluated @ weight.T
        deviation = (evaluated.square() @ weight.T.square() * rate / (1 - rate)).sqrt()
        for behind, function in NONLINEARITIES.items():
            mean, expected = function(trained @ weight.T).mean(0), mean_behind(function, sums, deviation)
            measured[f"behind {behind}, {name}"] = {f"p = {rate:g}": _size(mean, function(sums))}
            theory[f"behind {behind}, {name}"] = {f"p = {rate:g}": _size(expected, function(sums))}
    return measured, theory


def mean_behind(function: Callable[[Tensor], Tensor], mean: Tensor, deviation: Tensor) -> Tensor:
    """The mean of a function of normal numbers, of each mean and standard deviation [...]."""
    places, masses = (torch.from_numpy(each) for each in hermegauss(_NODES))
    return function(mean[..., None] + deviation[..., None] * places) @ (masses / masses.sum())


def _size(mean: Tensor, evaluated: Tensor) -> float:
    """The size of the mean output as a share of the output in evaluation, both [B, D], summed over all. Numbers of the
    opposite sign are subtracted."""
    return float((mean * torch.where(evaluated < 0, -1.0, 1.0)).sum() / evaluated.abs().sum())


def _lines(scores: dict[str, Any], theory: dict[str, Any]) -> dict[str, Any]:
    """For a picture: of each group, and mode if there are two, the scores by rate and the values of theory."""
    lines: dict[str, Any] = {}
    for group, rows in scores.items():
        for row, score in rows.items():
            _, comma, mode = row.partition(", ")
            line = lines.setdefault(group + comma + mode, {"measured": [], "theory": []})
            line["measured"].append(score)
            line["theory"].append(theory[group][row]["value"])
    return lines


def _states(plan: DropoutPlan, rate: float, seed: int) -> dict[str, list[Carried]]:
    """All draws, by the transformation of the state."""
    found: dict[str, list[Carried]] = {}
    for draw in range(plan.draws):
        torch.manual_seed(seed + draw)
        start = torch.randn(_ROWS, plan.width, dtype=torch.float64)
        turn = nn.init.orthogonal_(torch.empty(plan.width, plan.width, dtype=torch.float64))
        for carrier, matrix in (("carried", None), ("mixed", turn)):
            for masks, anew in (("a mask a step", True), ("one mask", False)):
                each = drop_state(start, matrix, rate, anew, plan.steps)
                found.setdefault(f"{carrier}, {masks}", []).append(each)
        for number, each in enumerate(between_layers(plan.cell, rate, plan.steps, plan.width), 1):
            found.setdefault(f"{plan.cell}, layer {number}", []).append(each)
    return found


def drop_state(start: Tensor, matrix: Tensor | None, rate: float, anew: bool, steps: int) -> Carried:
    """Drop numbers of a state before every step, by the inverted convention.

    Args:
        start: [B, D].
        matrix: of a step, [D, D]; None: the identity, as in the cell of an LSTM whose forget gates are open.
        rate: p.
        anew: a new mask at each step; or the same at all.
        steps: K.
    """
    clean, dropped = [start], [start]
    for number in range(steps):
        if anew or number == 0:
            mask = (torch.rand(start.shape) >= rate).double()
        for states, state in ((clean, clean[-1]), (dropped, CONVENTIONS["inverted"].training(dropped[-1], mask, rate))):
            states.append(state if matrix is None else state @ matrix.T)
    return compare_theory(torch.stack(dropped), torch.stack(clean))


def between_layers(cell: str, rate: float, steps: int, width: int) -> list[Carried]:
    """Outputs of each of two layers of a cell in training compared with evaluation, by the same weights and the same
    inputs, normal numbers; dropout is the cell's own."""
    recurrence = named_cell(cell, width, hidden_size=width, num_layers=2, dropout=rate).double()
    inputs = torch.randn(steps, _ROWS, width, dtype=torch.float64)
    by_mode = []
    with torch.no_grad():
        for training in (True, False):
            recurrence.train(training)
            state = recurrence.initial_state(_ROWS)
            outputs = []
            for x in inputs:
                _, state = recurrence.step(x, state)
                outputs.append(recurrence.layer_outputs(state))
            by_mode.append(torch.stack(outputs))  # [K, B, L, D]
    found = [
        compare_theory(trained, evaluated)
        for trained, evaluated in zip(*(each.unbind(2) for each in by_mode), strict=True)
    ]
    return [Carried(*(np.concatenate([[1.0], each]) for each in layer)) for layer in found]


def compare_theory(dropped: Tensor, clean: Tensor) -> Carried:
    """Compare states [K, B, D], with dropout and without."""
    inner, size = (dropped * clean).sum(-1), clean.square().sum(-1)
    sizes = dropped.square().sum(-1) * size
    cosine = torch.where(sizes > 0, inner.square() / sizes.clamp(min=torch.finfo(sizes.dtype).tiny), 0.0)
    return Carried(cosine.mean(1).numpy(), (inner / size).mean(1).numpy())


def _expected(plan: DropoutPlan, rate: float) -> dict[str, dict[str, np.ndarray]]:
    """Expected values of `cosine` and `mean` of `Carried` [1 + K], by the transformation of the state.

    Carried unchanged, the numbers that no step has dropped remain, and grow at each step. Mixed, a state loses the
    same share at every step, with a new mask or the same, down to chance, 1 / D."""
    steps = np.arange(plan.steps + 1.0)
    left, same = (1 - rate) ** steps, np.ones(plan.steps + 1)
    once = np.where(steps > 0, 1 - rate, 1.0)
    mixed = left + (1 - left) / plan.width
    cosine = {"carried, a mask a step": left, "carried, one mask": once}
    cosine |= {"mixed, a mask a step": mixed, "mixed, one mask": mixed, f"{plan.cell}, layer 1": same}
    mean = {"carried, a mask a step": same, "carried, one mask": once / left}
    mean |= {"mixed, a mask a step": same, f"{plan.cell}, layer 1": same}
    return {"cosine": cosine, "mean": mean}

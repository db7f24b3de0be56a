"""The scale of signals through layers, or the steps of a recurrence, and of gradients back, by initialisation; with and
without layer normalisation, compared with the theory of wide layers.

Sources: Glorot and Bengio, AISTATS 2010, eq. 16 (Xavier); He et al., ICCV 2015, eq. 10 (Kaiming); Saxe, McClelland and
Ganguli, ICLR 2014 (orthogonal); Poole et al., NeurIPS 2016, and Schoenholz et al., ICLR 2017 (wide layers); Ba, Kiros
and Hinton 2016 (layer normalisation).

Shapes: B rows, D width, K layers, or steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.metrics.statistics import MeansByImage, bootstrap_settings
from vlrnn.probes.finding import Finding, constant_score
from vlrnn.progress import track
from vlrnn.studies.cells.gradient_flow import flow
from vlrnn.studies.cells.small_tasks import EPSILON, WHERE, learn
from vlrnn.studies.fitting import one_thread, require_least

WAYS = ("depth", "time")

_ROWS = 32
_NODES = 64  # of an integral: an even number, so that none lies at the kink of a ReLU

INITIALISATIONS: dict[str, Callable[[Tensor, float], object]] = {
    "zero": lambda weight, _: nn.init.zeros_(weight),
    "constant": lambda weight, _: nn.init.constant_(weight, 1 / weight.shape[1]),
    "gaussian": lambda weight, std: nn.init.normal_(weight, std=std),
    "xavier": lambda weight, _: nn.init.xavier_uniform_(weight),
    "kaiming": lambda weight, _: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "orthogonal": lambda weight, _: nn.init.orthogonal_(weight),
}
"""Each fills a weight [out, in]; the number is the standard deviation of `gaussian`. They are as in their papers, for
any nonlinearity; with `constant` every unit gets the mean of its inputs. Biases are zero."""


class Nonlinearity(NamedTuple):
    """A function of numbers, and its derivative."""

    of: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


NONLINEARITIES = {
    "linear": Nonlinearity(lambda z: z, torch.ones_like),
    "tanh": Nonlinearity(torch.tanh, lambda z: 1 - z.tanh().square()),
    "relu": Nonlinearity(torch.relu, lambda z: (z > 0).to(z.dtype)),
}


@dataclass(frozen=True)
class InitialisationPlan:
    """The initialisations, and the settings of the measurement.

    Args:
        initialisations: of weights: zero, constant, gaussian, xavier, kaiming, orthogonal.
        nonlinearities: of layers: linear, tanh, relu.
        depth: layers, or steps of a recurrence.
        width: of layers.
        std: of gaussian weights.
        draws: of weights and inputs.
        learning_steps: of small networks.
    """

    initialisations: Sequence[str] = ("zero", "constant", "gaussian", "xavier", "kaiming", "orthogonal")
    nonlinearities: Sequence[str] = ("tanh", "relu")
    depth: int = 30
    width: int = 128
    std: float = 0.01
    draws: int = 10
    learning_steps: int = 600

    def __post_init__(self) -> None:
        for option, allowed in (("initialisations", INITIALISATIONS), ("nonlinearities", NONLINEARITIES)):
            for name in getattr(self, option):
                if name not in allowed:
                    raise UserError(f"--{option}: there is no {name}; there are {', '.join(allowed)}")
        require_least(self, depth=1, width=2, draws=1, learning_steps=1)
        if not self.std > 0:
            raise UserError(f"--std must be above 0, not {self.std}")


class Scales(NamedTuple):
    """Root mean squares: of the activations after 0..K layers, `signal` [1 + K], as shares of that of the input; and of
    the gradient 0..K layers back from the last, `gradient` [1 + K], as shares of that at the last."""

    signal: np.ndarray
    gradient: np.ndarray


@one_thread()
def initialisation(plan: InitialisationPlan, *, resamples: int = 1000, seed: int = 0) -> Finding:
    """How large are signals and gradients after many layers or steps, for each initialisation and normalisation, and
    what do small networks learn?

    Inputs are independent normal numbers, and so is the gradient at the output; all is in float64. By depth each layer
    has weights of its own, h' = f(W h). By time a recurrence has no further input, so that each step is a layer of the
    same weights. With normalisation it is h' = f(norm(W h)), without a gain.

    Returns:
        groups as `signal by depth, tanh`: of each initialisation, and of it `normalised`, the root of the mean square
        over draws, after all layers; the baseline `theory` has the limit of wide layers, if any. Groups as `learning
        brightness`: the error, by normalised values; `learning contrast`, `distinct units` of the hidden layer and
        those `learnt`, by initialisation; the baseline `chance` is of a prediction of the mean. `details` have all
        layers.
    """
    groups = [(what, way, name) for way in WAYS for name in plan.nonlinearities for what in Scales._fields]
    scores: dict[str, Any] = {_group(*each): {} for each in groups}
    theory: dict[str, Any] = {name: {} for name in scores}
    curves: dict[str, Any] = {name: {} for name in scores}
    absent: dict[str, str] = {}
    means = MeansByImage(list(range(plan.draws)), resamples, seed)
    for name, way in track([(name, way) for name in plan.initialisations for way in WAYS], "initialisations"):
        for (nonlinearity, normalised), drawn in _drawn(plan, name, way, seed).items():
            variance = _variance(name, plan)
            expected = None if variance is None else in_theory(variance, nonlinearity, normalised, plan.depth)
            row = name + ", normalised" * normalised
            for what in Scales._fields:
                group = _group(what, way, nonlinearity)
                with np.errstate(over="ignore", invalid="ignore"):
                    squares = np.stack([getattr(each, what) for each in drawn]) ** 2
                if not np.isfinite(squares).all():
                    absent[f"{group}: {row}"] = "it exceeds the range of numbers; lower the depth or std"
                    continue
                square = means.of({"last": squares[:, -1]})["last"]
                scores[group][row] = square | {end: square[end] ** 0.5 for end in ("value", "low", "high")}
                curves[group][row] = {"measured": np.sqrt(squares.mean(0)).tolist()}
                if expected is not None:
                    along = getattr(expected, what).tolist()
                    theory[group][row] = constant_score(along[-1])
                    curves[group][row]["theory"] = along
    errors, units = _learning(plan, means, seed)
    return Finding(
        scores=scores | _of_tasks(errors, "error") | units,
        settings={**vars(plan), "rows": _ROWS, **bootstrap_settings(resamples, seed, "draws")},
        baselines={"theory": theory, "chance": _of_tasks(errors, "chance")},
        details={"scales": curves, "learnt": errors},
        not_computed=absent,
    )


def _group(what: str, way: str, nonlinearity: str) -> str:
    return f"{what} by {way}, {nonlinearity}"


def _of_tasks(errors: dict[str, Any], what: str) -> dict[str, Any]:
    return {f"learning {task}": {name: row[what] for name, row in rows.items()} for task, rows in errors.items()}


def _drawn(plan: InitialisationPlan, name: str, way: str, seed: int) -> dict[tuple[str, bool], list[Scales]]:
    """The scales of each nonlinearity, with and without normalisation, over the same draws."""
    found: dict[tuple[str, bool], list[Scales]] = {(f, norm): [] for norm in (False, True) for f in plan.nonlinearities}
    for draw in range(plan.draws):
        torch.manual_seed(seed + draw)
        sent, back = torch.randn(2, _ROWS, plan.width, dtype=torch.float64)
        weights = draw_chain(name, way, plan)
        for nonlinearity, normalised in found:
            scales = chain_scales(weights, NONLINEARITIES[nonlinearity].of, normalised, sent, back)
            found[nonlinearity, normalised].append(scales)
    return found


def draw_chain(name: str, way: str, plan: InitialisationPlan) -> list[Tensor]:
    """The weights [D, D] of every layer, by an initialisation; by `time` they are all the same."""
    own = [torch.empty(plan.width, plan.width, dtype=torch.float64) for _ in range(plan.depth if way == "depth" else 1)]
    for weight in own:
        _fill(name, plan.std, weight)
    return own if way == "depth" else own * plan.depth


def _fill(name: str, std: float, weight: Tensor) -> None:
    INITIALISATIONS[name](weight, std)


def chain_scales(
    weights: Sequence[Tensor], nonlinearity: Callable[[Tensor], Tensor], normalised: bool, sent: Tensor, back: Tensor
) -> Scales:
    """Send a signal through layers, and a gradient back.

    Args:
        weights: of K layers, [D, D] each.
        nonlinearity: f.
        normalised: whether every layer's sums are.
        sent: the input [B, D].
        back: the gradient with respect to the output [B, D].
    """

    def layer(weight: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        sums = before @ weight.T
        after = nonlinearity(F.layer_norm(sums, sums.shape[-1:], eps=EPSILON) if normalised else sums)
        return after, after

    sizes, state = [sent.norm()], sent
    with torch.no_grad():
        for weight in weights:
            state, _ = layer(weight, state)
            sizes.append(state.norm())
    norms = flow(layer, weights, sent, lambda output: (output * back).sum()).norms
    return Scales((torch.stack(sizes) / sizes[0]).numpy(), (norms / norms[0]).numpy())


def _variance(name: str, plan: InitialisationPlan) -> float | None:
    """D times the mean square of a weight; None where weights are neither independent nor orthogonal with mean 0."""
    gaussian = plan.width * plan.std**2
    return {"zero": 0.0, "gaussian": gaussian, "xavier": 1.0, "kaiming": 2.0, "orthogonal": 1.0}.get(name)


def in_theory(variance: float, nonlinearity: str, normalised: bool, depth: int) -> Scales:
    """The limit of wide layers, in which sums are normal and gradients independent of them: with q the mean square of
    the input, that of the sums is s = variance q, and of the output E f(z)^2, z being normal with the variance s; the
    mean square of a gradient is multiplied by variance E f'(z)^2. Normalised sums have the variance 1, and the gradient
    is divided by s.

    Args:
        variance: D times the mean square of a weight.
        nonlinearity: f, by its name.
        normalised: whether sums are.
        depth: K.
    """
    places, masses = (torch.from_numpy(each) for each in hermegauss(_NODES))
    masses = masses / masses.sum()
    square, squares, factors = 1.0, [1.0], []
    for _ in range(depth):
        sums = variance * square
        z = places * (float(sums > 0) if normalised else sums**0.5)
        square = float((masses * NONLINEARITIES[nonlinearity].of(z).square()).sum())
        slope = float((masses * NONLINEARITIES[nonlinearity].slope(z).square()).sum())
        squares.append(square)
        factors.append(variance * slope / (sums if normalised and sums else 1.0))
    with np.errstate(over="ignore"):
        return Scales(np.sqrt(squares), np.sqrt(np.cumprod([1.0, *reversed(factors)])))


SCALED, APART = ("brightness", "ones", "objects"), "contrast"
"""Tasks whose target depends on the scale of the inputs; and one that needs hidden units which differ."""


def _learning(plan: InitialisationPlan, means: MeansByImage, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results of small networks, one for each draw: task -> row -> `error` and `chance`; and the numbers of distinct
    hidden units, before and after training, as groups of scores."""
    errors: dict[str, Any] = {}
    units: dict[str, Any] = {"distinct units": {}, "distinct units, learnt": {}}
    rows = [(task, where, "xavier") for task in SCALED for where in WHERE]
    rows += [(APART, "nothing", name) for name in plan.initialisations]
    for task, where, name in track(rows, "learning"):
        fill = partial(_fill, name, plan.std)
        found = means.of(learn(task, where, fill, plan.draws, plan.learning_steps, seed)._asdict())
        errors.setdefault(task, {})[name if task == APART else f"{where} normalised"] = {
            each: found[each] for each in ("error", "chance")
        }
        if task == APART:
            units["distinct units"][name] = found["distinct"]
            units["distinct units, learnt"][name] = found["distinct_after"]
    return errors, units

"""Do gradients vanish or explode on their way back through time? In untrained cells, over random inputs, compared with
theory.

Sources: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, ICML 2013 (a radius, and
clipping); Tallec and Ollivier, Can recurrent neural networks warp time?, ICLR 2018 (forget gates).

Shapes: B rows, T steps, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlrnn.errors import UserError
from vlrnn.metrics.statistics import MeansByImage, bootstrap_settings
from vlrnn.nn.batching import map_tree
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.spec import named_cell
from vlrnn.probes.finding import Finding
from vlrnn.progress import track
from vlrnn.studies.cells.gradient_flow import Flow, flow, jacobian, largest_singular_value
from vlrnn.studies.fitting import require_least

RADII = (0.9, 1.0, 1.5)
LEARNING_RATE, CLIP = 0.1, 1.0
"""Of one step of gradient descent, with and without clipping."""

_ROWS = 16
_SETTINGS = {"rows": _ROWS, "learning_rate": LEARNING_RATE, "clip": CLIP}


@dataclass(frozen=True)
class GradientsPlan:
    """The cells, and the settings of the measurement.

    Args:
        cells: untrained recurrences by their names, see `vlrnn.nn.recurrent.spec`.
        radii: spectral radii of the matrix of an rnn.
        layers: numbers of layers.
        steps: from the loss back.
        width: of the cells.
        scale: inputs are uniform in -scale..scale; embeddings of words start with 0.1.
        draws: of weights and inputs.
    """

    cells: Sequence[str] = ("rnn", "gru", "lstm", "lstm:forget_bias=3", "lstm:chrono=100")
    radii: Sequence[float] = RADII
    layers: Sequence[int] = (1, 2)
    steps: int = 100
    width: int = 64
    scale: float = 0.1
    draws: int = 5

    def __post_init__(self) -> None:
        if not (self.cells and self.radii and self.layers):
            raise UserError("--cells, --radii and --layers need at least one each")
        require_least(self, steps=2, width=1, draws=1)
        if min(self.layers) < 1:
            raise UserError("--layers must be at least 1")
        if min(self.radii) <= 0 or self.scale <= 0:
            raise UserError("--radii and --scale must be above 0")


class Drawn(NamedTuple):
    """One draw of a cell: its gradient's `flow`; the largest singular value of the Jacobian of the last step,
    `stretch`; the expected share of the gradient by the forget gates, or the matrix, alone, `theory` [1 + T], or None;
    and the loss after a step of gradient descent, as a share of that before it, `stepped`, and `clipped`, with the
    gradient's norm limited to `CLIP`."""

    flow: Flow
    stretch: float
    theory: Tensor | None
    stepped: float
    clipped: float


def gradients(plan: GradientsPlan, *, resamples: int = 1000, seed: int = 0) -> Finding:
    """How much of the gradient of a loss at the last step reaches k steps earlier, by cell?

    The loss is the square distance of the last output from random targets; gradients are in float64, and given
    as shares of that with respect to the last output.

    Returns:
        of each cell and number of layers `after_K` for several K and `per_step`, the factor of a step in the second
        half of the steps; `stretch`, `parameters`, the norm over all parameters; `stepped` and `clipped` (see `Drawn`).
        The baseline `theory` has `after_K`, if any. `details.curves` has all steps.

    Raises:
        UserError: there is no such cell.
    """
    scores: dict[str, Any] = {}
    theory: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    radii: dict[str, Sequence[float | None]] = {
        cell: plan.radii if recurrent_matrices(named_cell(cell, plan.width, hidden_size=plan.width)) else [None]
        for cell in plan.cells
    }
    rows = [(cell, radius, layers) for cell in plan.cells for radius in radii[cell] for layers in plan.layers]
    for cell, radius, layers in track(rows, "cells"):
        name = (cell if radius is None else f"{cell}, radius {radius:g}") + f", {layers} layer" + "s" * (layers > 1)
        drawn = [_draw(plan, cell, radius, layers, seed + number) for number in range(plan.draws)]
        means = MeansByImage(list(range(plan.draws)), resamples, seed)
        scores[name] = means.of(_figures(drawn))
        curves[name] = _curves(drawn)
        if drawn[0].theory is not None:
            expected = torch.stack([each.theory for each in drawn if each.theory is not None]).numpy()
            theory[name] = means.of(_after(expected))
            curves[name]["theory"] = expected.mean(0).tolist()
    return Finding(
        scores=scores,
        settings={**vars(plan), **_SETTINGS, **bootstrap_settings(resamples, seed, "draws")},
        baselines={"theory": theory} if theory else {},
        details={"curves": curves},
    )


def _draw(plan: GradientsPlan, cell: str, radius: float | None, layers: int, seed: int) -> Drawn:
    torch.manual_seed(seed)
    recurrence = named_cell(cell, plan.width, hidden_size=plan.width, num_layers=layers).double().eval()
    if radius is not None:
        set_radius(recurrence, radius)
    inputs = plan.scale * (2 * torch.rand(_ROWS, plan.steps, plan.width, dtype=torch.float64) - 1)
    targets = torch.rand(_ROWS, recurrence.hidden_size, dtype=torch.float64) - 0.5

    def loss(output: Tensor) -> Tensor:
        return (output - targets).square().sum(-1).mean()

    parameters = list(recurrence.parameters())
    start = map_tree(Tensor.detach, recurrence.initial_state(_ROWS))
    found = flow(recurrence.step, inputs.unbind(1), start, loss, parameters=parameters, layers=layers)
    with torch.no_grad():
        _, end = recurrence(inputs, start)
    last = map_tree(lambda leaf: leaf[:1].contiguous(), end)
    stretch = largest_singular_value(jacobian(recurrence.step, inputs[:1, -1], last))
    if radius is None:
        theory = carried_by_gates(recurrence, plan.width, plan.steps)
    else:
        theory = radius ** torch.arange(plan.steps + 1, dtype=torch.float64)
    return Drawn(found, stretch, theory if layers == 1 else None, *_descend(recurrence, inputs, loss))


def recurrent_matrices(recurrence: Recurrence) -> list[Tensor]:
    """The matrices [D, D] from the state of a vanilla recurrence to the next; none of a gated one."""
    named = (each for name, each in recurrence.named_parameters() if "weight_hh" in name)
    return [each for each in named if each.shape[0] == each.shape[1]]


def set_radius(recurrence: Recurrence, radius: float) -> None:
    """Give all recurrent matrices a spectral radius."""
    for matrix in recurrent_matrices(recurrence):
        matrix.data *= radius / torch.linalg.eigvals(matrix.data).abs().max()


def carried_by_gates(recurrence: Recurrence, input_width: int, steps: int) -> Tensor | None:
    """The share of a cell's state after 0..T steps by constant forget gates alone, as they are before any input: the
    root mean square over its units of gate^k [1 + T]. With a bias b it is sigmoid(b)^k. None of a cell without such
    gates."""
    state = recurrence.initial_state(1)
    with torch.no_grad():
        gates = recurrence.gates(torch.zeros(1, input_width, dtype=torch.float64), state)
    if "forget" not in gates:
        return None
    powers = gates["forget"].flatten()[None] ** torch.arange(steps + 1, dtype=torch.float64)[:, None]
    return powers.square().mean(1).sqrt()


def _descend(recurrence: Recurrence, inputs: Tensor, loss: Any) -> tuple[float, float]:
    """The loss after a step of gradient descent as a share of that before it; and the same of a clipped step."""
    parameters = list(recurrence.parameters())

    def measured() -> Tensor:
        outputs, _ = recurrence(inputs, recurrence.initial_state(len(inputs)))
        return loss(outputs[:, -1])

    before = measured()
    slopes = torch.autograd.grad(before, parameters, allow_unused=True)
    pairs = [(each, slope) for each, slope in zip(parameters, slopes, strict=True) if slope is not None]
    norm = torch.stack([slope.norm() for _, slope in pairs]).norm()
    shares = []
    with torch.no_grad():
        for scale in (1.0, min(1.0, CLIP / float(norm))):
            originals = [each.clone() for each, _ in pairs]
            for each, slope in pairs:
                each.sub_(slope, alpha=LEARNING_RATE * scale)
            shares.append(float(measured() / before))
            for (each, _), old in zip(pairs, originals, strict=True):
                each.copy_(old)
    return shares[0], shares[1]


def _figures(drawn: Sequence[Drawn]) -> dict[str, np.ndarray]:
    shares = np.stack([_shares(each.flow) for each in drawn])
    steps = shares.shape[1] - 1
    half = steps // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        per_step = (shares[:, -1] / shares[:, half]) ** (1 / (steps - half))
    named = {
        "stretch": [each.stretch for each in drawn],
        "parameters": [each.flow.parameters for each in drawn],
        "stepped": [each.stepped for each in drawn],
        "clipped": [each.clipped for each in drawn],
    }
    figures = _after(shares) | {"per_step": per_step} | {name: np.array(each) for name, each in named.items()}
    return {name: np.nan_to_num(each, nan=0.0) for name, each in figures.items()}


def _after(shares: np.ndarray) -> dict[str, np.ndarray]:
    """The columns [draws] at a tenth of the steps, at half of them and at the last."""
    steps = shares.shape[1] - 1
    return {f"after_{at}": shares[:, at] for at in sorted({max(1, steps // 10), max(1, steps // 2), steps})}


def _shares(found: Flow) -> np.ndarray:
    return (found.norms / found.norms[0]).numpy()


def _curves(drawn: Sequence[Drawn]) -> dict[str, Any]:
    """The shares [1 + T] at each step, and of each layer, as geometric means over draws, for pictures."""
    curves: dict[str, Any] = {"shares": _typical(np.stack([_shares(each.flow) for each in drawn]))}
    layers = [each.flow.layers / each.flow.norms[0] for each in drawn if each.flow.layers is not None]
    if len(layers) == len(drawn) and layers[0].shape[1] > 1:
        stacked = torch.stack(layers).numpy()
        curves["layers"] = [_typical(stacked[..., layer]) for layer in range(stacked.shape[-1])]
    return curves


def _typical(shares: np.ndarray) -> list[float]:
    with np.errstate(divide="ignore"):
        return np.exp(np.log(shares).mean(0)).tolist()

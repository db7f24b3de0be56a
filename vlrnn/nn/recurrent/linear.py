"""Linear recurrences h' = a h + b, with a and b functions of the input alone: minGRU, minLSTM, RG-LRU, LRU; and the
parallel scan of such a recurrence over all steps."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree
from vlrnn.nn.recurrent.base import LayeredRecurrence, RecurrentLayer

_LARGE = 8192
"""From this many numbers per step on, a CPU is busy with one step at a time, and parallel parts only take memory."""


def linear_scan(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    """h_t = a_t h_{t-1} + b_t, element by element (Martin and Cundy 2018).

    Time is split into about sqrt(T) parts, which run in parallel from zero; then the initial state of each part times
    the product of a is added. Without logarithms and divisions any a is valid, also zero, negative or complex. The
    gradient is the same recurrence backwards in time.

    Args:
        a: [B, T, D], T at least 1.
        b: [B, T, D].
        first: [B, D], h before the first step.

    Returns:
        h after every step [B, T, D].
    """
    if a.shape[1] == 1:
        return a * first[:, None] + b
    return _LinearScan.apply(a, b, first)


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, first: Tensor) -> Tensor:
        h = _run(a, b, first)
        ctx.save_for_backward(a, h, first)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, first = ctx.saved_tensors
        # g_t = grad_t + conj(a_{t+1}) g_{t+1}, from the last step to the first.
        after = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], 1).conj()
        g = _run(after.flip(1), grad.flip(1), torch.zeros_like(first)).flip(1)
        before = torch.cat([first[:, None], h[:, :-1]], 1)
        return g * before.conj(), g, g[:, 0] * a[:, 0].conj()


def _run(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    batch_size, time, width = a.shape
    if a.device.type == "cpu" and batch_size * width >= _LARGE:
        return _one_by_one(a, b, first)
    size = math.isqrt(time - 1) + 1  # steps of a part; the last one is padded with zeros
    missing = -time % size
    if missing:
        a, b = (torch.cat([each, each.new_zeros(batch_size, missing, width)], 1) for each in (a, b))
    a, b = (each.unflatten(1, (-1, size)) for each in (a, b))  # [B, P, S, D]
    h, through = torch.empty_like(b), torch.empty_like(a)  # the result of a part from zero, and the product of the a
    h[:, :, 0], through[:, :, 0] = b[:, :, 0], a[:, :, 0]
    for step in range(1, size):
        torch.addcmul(b[:, :, step], a[:, :, step], h[:, :, step - 1], out=h[:, :, step])
        torch.mul(a[:, :, step], through[:, :, step - 1], out=through[:, :, step])
    begins = torch.empty_like(h[:, :, 0])  # the initial state of each part
    for part in range(begins.shape[1]):
        begins[:, part] = first
        first = torch.addcmul(h[:, part, -1], through[:, part, -1], first)
    return h.addcmul_(through, begins[:, :, None]).flatten(1, 2)[:, :time]


def _one_by_one(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    h = torch.empty_like(b)
    for step in range(a.shape[1]):
        first = torch.addcmul(b[:, step], a[:, step], first, out=h[:, step])
    return h


def scan_within(a: Tensor, b: Tensor, first: Tensor, mask: Tensor | None) -> Tensor:
    """`linear_scan` [B, T, D] that leaves the state unchanged where `mask` [B, T] is false."""
    if mask is not None:
        a, b = a.where(mask[..., None], 1.0), b.where(mask[..., None], 0.0)
    return linear_scan(a, b, first)


def last(ys: Tensor, before: Tensor, mask: Tensor | None) -> Tensor:
    """The last output [B, D]: of outputs [B, T, D] that of the last step within the mask; without one, `before`."""
    if mask is None:
        return ys[:, -1]
    lengths = mask.sum(1)
    rows = torch.arange(len(ys), device=ys.device)
    return torch.where((lengths > 0)[:, None], ys[rows, (lengths - 1).clamp(min=0)], before)


class _MinLayer(RecurrentLayer):
    """A linear map of the input, from which `coefficients` computes a and b; the state is the output."""

    def __init__(self, input_width: int, hidden_size: int, blocks: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.from_input = nn.Linear(input_width, blocks * hidden_size)

    def initial(self, batch_size: int) -> Tree:
        return self.from_input.weight.new_zeros(batch_size, self.hidden_size)

    def coefficients(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        """a and b [..., D] of inputs [..., I]."""
        raise NotImplementedError

    def forward(self, xs: Tensor, state: Tree, mask: Tensor | None) -> tuple[Tensor, Tree]:
        hs = scan_within(*self.coefficients(xs), state, mask)
        return hs, hs[:, -1]

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        return {"forget": self.coefficients(x)[0]}


class _MinGRULayer(_MinLayer):
    def coefficients(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        gate, new = self.from_input(xs).chunk(2, -1)
        return (-gate).sigmoid(), gate.sigmoid() * new


class MinGRU(LayeredRecurrence):
    """A GRU whose gate and candidate do not depend on the state (Feng et al. 2024, section 3.1):

    h' = (1 - z) h + z (W x + w),  z = s(V x + v).
    """

    def _layer(self, input_width: int) -> RecurrentLayer:
        return _MinGRULayer(input_width, self.hidden_size, 2)


class _MinLSTMLayer(_MinLayer):
    def coefficients(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        forget, take, new = self.from_input(xs).chunk(3, -1)
        # f / (f + i) = s(log f - log i), without a division by small numbers.
        odds = F.logsigmoid(forget) - F.logsigmoid(take)
        return odds.sigmoid(), (-odds).sigmoid() * new


class MinLSTM(LayeredRecurrence):
    """An LSTM whose gates and candidate do not depend on the state, with gates scaled to sum to one (Feng et al. 2024,
    section 3.2):

    h' = f / (f + i) h + i / (f + i) (W x + w),  f = s(U x + u),  i = s(V x + v).
    """

    def _layer(self, input_width: int) -> RecurrentLayer:
        return _MinLSTMLayer(input_width, self.hidden_size, 3)


class _RGLRULayer(_MinLayer):
    _POWER = 8.0  # c of the paper

    def __init__(self, input_width: int, hidden_size: int) -> None:
        super().__init__(input_width, hidden_size, 1)
        self.gate_maps = nn.Linear(hidden_size, 2 * hidden_size)
        stay = torch.empty(hidden_size).uniform_(0.9, 0.999)  # a where r is 1
        self.slowness = nn.Parameter(-torch.log(torch.expm1(-torch.log(stay) / self._POWER)))

    def coefficients(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        xs = self.from_input(xs)
        recurrent, take = self.gate_maps(xs).sigmoid().chunk(2, -1)
        log_a = -self._POWER * recurrent * F.softplus(-self.slowness)
        # The gradient of the root is unbounded as a approaches 1; there the scale is constant.
        return log_a.exp(), (-torch.expm1(2 * log_a)).clamp(min=1e-6).sqrt() * take * xs


class RGLRU(LayeredRecurrence):
    """The real-gated linear recurrent unit (De et al. 2024, Griffin, eq. 1 to 4), of the input projected to x = W u +
    w:

    h' = a h + sqrt(1 - a^2) (i x),  a = s(l)^(8 r),  r = s(V x + v),  i = s(U x + u),

    l drawn so that a is within 0.9 and 0.999 where r is 1. The input is scaled to preserve the norm of h.
    """

    def _layer(self, input_width: int) -> RecurrentLayer:
        return _RGLRULayer(input_width, self.hidden_size)


class _LRULayer(RecurrentLayer):
    def __init__(self, input_width: int, hidden_size: int, r_min: float, r_max: float) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        size = torch.empty(hidden_size).uniform_(r_min**2, r_max**2).sqrt()  # |a|, uniform on the ring's area
        self.log_decay = nn.Parameter(torch.log(-torch.log(size)))
        self.log_angle = nn.Parameter(torch.log(torch.empty(hidden_size).uniform_(1e-3, 2 * math.pi)))
        self.log_scale = nn.Parameter(0.5 * torch.log1p(-(size**2)))
        self.from_input = nn.Linear(input_width, 2 * hidden_size, bias=False)
        self.from_state = nn.Linear(2 * hidden_size, hidden_size, bias=False)
        self.past = nn.Linear(input_width, hidden_size)
        self.output = nn.Linear(hidden_size, 2 * hidden_size)
        nn.init.normal_(self.from_input.weight, std=(2 * input_width) ** -0.5)
        nn.init.normal_(self.from_state.weight, std=hidden_size**-0.5)

    def initial(self, batch_size: int) -> Tree:
        zeros = self.past.weight.new_zeros(batch_size, self.hidden_size)
        return zeros, torch.stack([zeros, zeros], -1)

    def forward(self, xs: Tensor, state: Tree, mask: Tensor | None) -> tuple[Tensor, Tree]:
        output, h = state
        a = torch.polar(self._size(), torch.exp(self.log_angle))
        b = _complex(self.from_input(xs).unflatten(-1, (-1, 2))) * torch.exp(self.log_scale)
        hs = torch.view_as_real(scan_within(a.expand_as(b), b, _complex(h), mask))  # [B, T, D, 2]
        ys = F.glu(self.output(F.gelu(self.from_state(hs.flatten(2)) + self.past(xs))))
        return ys, (last(ys, output, mask), hs[:, -1])

    def _size(self) -> Tensor:
        """|a| [D]."""
        return torch.exp(-torch.exp(self.log_decay))

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        return {"forget": self._size().expand(len(x), -1)}  # independent of the input


def _complex(pairs: Tensor) -> Tensor:
    return torch.view_as_complex(pairs.contiguous())


class LRU(LayeredRecurrence):
    """The linear recurrent unit (Orvieto et al. 2023, section 3): a state of D complex numbers with a diagonal
    transition, and a gated output.

    h' = a h + g B x,  a = exp(-exp(n) + i exp(t)),  y = glu(W gelu(Re(C h') + P x) + w),

    |a| drawn uniformly on the ring between `r_min` and `r_max`, g starting at sqrt(1 - |a|^2).

    Args:
        hidden_size, num_layers, dropout: as of `LayeredRecurrence`.
        r_min, r_max: least and greatest |a| at initialisation, within 0 and 1.
    """

    accepts_initial_state = False

    def __init__(
        self, hidden_size: int = 512, num_layers: int = 1, dropout: float = 0.0, r_min: float = 0.5, r_max: float = 0.99
    ) -> None:
        super().__init__(hidden_size, num_layers, dropout)
        if not 0 <= r_min < r_max < 1:
            raise UserError(f"LRU: r_min and r_max must be 0 <= r_min < r_max < 1, not {r_min}, {r_max}")
        self.r_min, self.r_max = r_min, r_max

    def _layer(self, input_width: int) -> RecurrentLayer:
        return _LRULayer(input_width, self.hidden_size, self.r_min, self.r_max)

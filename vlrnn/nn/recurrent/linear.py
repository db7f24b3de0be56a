"""Linear recurrences h' = a h + b, with a and b functions of the input alone: minGRU, minLSTM, RG-LRU, LRU. Sequences
are computed in parallel over time."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree
from vlrnn.nn.recurrent.base import LayeredRecurrence, RecurrentLayer
from vlrnn.nn.recurrent.linear_scan import last, scan_within


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

"""Mamba: a state space whose step size, input and output maps depend on the input."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.errors import check_least
from vlrnn.nn.batching import Tree
from vlrnn.nn.recurrent.base import LayeredRecurrence, RecurrentLayer
from vlrnn.nn.recurrent.linear import last, scan_within

_SHORTEST, _LONGEST = 1e-3, 1e-1  # step sizes at initialisation
_CHUNK = 32  # steps computed at once; their memory, N numbers for each channel, fits the cache


class _MambaLayer(RecurrentLayer):
    def __init__(self, input_width: int, hidden_size: int, expand: int, state_dim: int, conv_width: int) -> None:
        super().__init__()
        inner, rank = expand * hidden_size, math.ceil(hidden_size / 16)
        self.hidden_size, self.state_dim, self.conv_width, self.rank = hidden_size, state_dim, conv_width, rank
        self.from_input = nn.Linear(input_width, 2 * inner, bias=False)
        self.convolution = nn.Conv1d(inner, inner, conv_width, groups=inner)
        self.choose = nn.Linear(inner, rank + 2 * state_dim, bias=False)
        self.step_size = nn.Linear(rank, inner)
        self.log_decay = nn.Parameter(torch.log(torch.arange(1.0, 1 + state_dim)).repeat(inner, 1))
        self.past = nn.Parameter(torch.ones(inner))
        self.output = nn.Linear(inner, hidden_size, bias=False)
        steps = torch.exp(torch.empty(inner).uniform_(math.log(_SHORTEST), math.log(_LONGEST)))
        self.step_size.bias.data.copy_(torch.log(torch.expm1(steps)))  # the inverse of softplus
        nn.init.uniform_(self.step_size.weight, -(rank**-0.5), rank**-0.5)

    def initial(self, batch_size: int) -> Tree:
        new = self.past.new_zeros
        inner = len(self.past)
        return (
            new(batch_size, self.hidden_size),
            new(batch_size, self.conv_width - 1, inner),
            new(batch_size, inner, self.state_dim),
        )

    def forward(self, xs: Tensor, state: Tree, mask: Tensor | None) -> tuple[Tensor, Tree]:
        output, window, h = state
        xs, gate = self.from_input(xs).chunk(2, -1)  # [B, T, E]
        window = torch.cat([window, xs], 1)
        xs, size, enter, leave = self._choose(window)
        chunks = zip(*(each.split(_CHUNK, 1) for each in (size, size * xs, enter, leave)), strict=True)
        runs = [None] * len(xs.split(_CHUNK, 1)) if mask is None else mask.split(_CHUNK, 1)
        ys = []
        for (size, taken, enter, leave), within in zip(chunks, runs, strict=True):
            a, b = self._decay(size), taken[..., None] * enter[:, :, None]
            hs = scan_within(a.flatten(2), b.flatten(2), h.flatten(1), within).view_as(a)
            ys.append((hs @ leave[..., None])[..., 0])
            h = hs[:, -1]
        outputs = self.output((torch.cat(ys, 1) + self.past * xs) * F.silu(gate))
        return outputs, (last(outputs, output, mask), _last_window(window, self.conv_width - 1, mask), h)

    def _choose(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """v and d [B, T, E], B v and C v [B, T, N], from the steps u and the window before them."""
        xs = F.silu(self.convolution(window.transpose(1, 2)).transpose(1, 2))
        size, enter, leave = self.choose(xs).split([self.rank, self.state_dim, self.state_dim], -1)
        return xs, F.softplus(self.step_size(size)), enter, leave

    def _decay(self, size: Tensor) -> Tensor:
        """exp(d A) [..., E, N]."""
        return torch.exp(size[..., None] * -torch.exp(self.log_decay))

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        u, _ = self.from_input(x).chunk(2, -1)
        _, size, _, _ = self._choose(torch.cat([state[1], u[:, None]], 1))
        return {"forget": self._decay(size).flatten(1)}


def _last_window(window: Tensor, size: int, mask: Tensor | None) -> Tensor:
    """The last inputs [B, size, E] within the mask; `window` [B, size + T, E] starts with older ones."""
    if mask is None:
        return window[:, window.shape[1] - size :]
    places = mask.sum(1, keepdim=True) + torch.arange(size, device=window.device)
    return window.gather(1, places[..., None].expand(-1, -1, window.shape[2]))


class Mamba(LayeredRecurrence):
    """The selective state space S6 and the block around it (Gu and Dao 2023, section 3, algorithm 2, figure 3).

    u and z = W_u x, W_z x;  v = silu(convolution of the last `conv_width` u);  d = softplus(W_d2 W_d1 v + w);
    h' = exp(d A) h + d (B v) v,  y = W (silu(z) (C v h' + p v)),

    with a state h of N numbers for each of the E = `expand` * D channels, A negative and diagonal, starting at -1 to
    -N. The window is part of the state.

    Args:
        hidden_size, num_layers, dropout: as of `LayeredRecurrence`.
        expand: E / D.
        state_dim: N.
        conv_width: of the convolution, in steps.
    """

    accepts_initial_state = False

    def __init__(
        self,
        hidden_size: int = 512,
        num_layers: int = 1,
        dropout: float = 0.0,
        expand: int = 2,
        state_dim: int = 16,
        conv_width: int = 4,
    ) -> None:
        super().__init__(hidden_size, num_layers, dropout)
        for name, value, least in (("expand", expand, 1), ("state_dim", state_dim, 1), ("conv_width", conv_width, 2)):
            check_least(f"Mamba: {name}", value, least)
        self.expand, self.state_dim, self.conv_width = expand, state_dim, conv_width

    def _layer(self, input_width: int) -> RecurrentLayer:
        return _MambaLayer(input_width, self.hidden_size, self.expand, self.state_dim, self.conv_width)

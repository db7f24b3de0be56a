"""Causal self-attention behind the interface of a recurrence: what recurrences are compared with.

It has no summary of the past: its state is what it heard, as far back as its window.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree
from vlrnn.nn.recurrent.base import Layer, Layered
from vlrnn.nn.recurrent.linear_scan import last


class _AttentionLayer(Layer):
    def __init__(self, input_width: int, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.width, self.heads, self.window = width, heads, window
        self.from_input = nn.Linear(input_width, width)
        self.norm = nn.LayerNorm(width)
        self.maps = nn.Linear(width, 3 * width)
        self.distance = nn.Parameter(torch.zeros(heads, window))
        self.joined = nn.Linear(width, width)
        self.inner_norm = nn.LayerNorm(width)
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def initial(self, batch_size: int) -> Tree:
        new = self.distance.new_zeros
        return (
            new(batch_size, self.width),
            new(batch_size, self.window - 1, 2 * self.width),
            new(batch_size, dtype=torch.long),
        )

    def scan(self, xs: Tensor, state: Tree, there: Tensor | None) -> tuple[Tensor, Tree]:
        said, heard, count = state
        xs = self.from_input(xs)
        queries, new = self.maps(self.norm(xs)).split([self.width, 2 * self.width], -1)
        heard = torch.cat([heard, new], 1)  # [B, W - 1 + T, 2 D]
        keys, values = heard.chunk(2, -1)
        query, key, value = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (queries, keys, values))
        found = F.scaled_dot_product_attention(query, key, value, self._bias(xs.shape[1], count))
        xs = xs + self.joined(found.transpose(1, 2).flatten(2))
        ys = xs + self.inner(self.inner_norm(xs))
        steps = torch.full_like(count, xs.shape[1]) if there is None else there.sum(1)
        places = steps[:, None] + torch.arange(self.window - 1, device=xs.device)
        heard = heard.gather(1, places[..., None].expand(-1, -1, heard.shape[2]))
        return ys, (last(ys, said, there), heard, (count + steps).clamp(max=self.window - 1))

    def _bias(self, time: int, count: Tensor) -> Tensor:
        """What is added to the scores [B, H, T, W - 1 + T]: by the distance between two steps; minus infinity where
        one was not yet, is no more, or, of the `count` [B] older ones, never was."""
        places = torch.arange(self.window - 1 + time, device=count.device)
        distances = torch.arange(time, device=count.device)[:, None] + self.window - 1 - places
        within = (distances >= 0) & (distances < self.window)
        bias = self.distance[:, distances.clamp(0, self.window - 1)].masked_fill(~within, float("-inf"))
        never = places < self.window - 1 - count[:, None]
        return bias.masked_fill(never[:, None, None], float("-inf"))


class CausalSelfAttention(Layered):
    """Blocks of a transformer's decoder (Vaswani et al. 2017), normalised before each part (Xiong et al. 2020), of the
    input mapped to the width of the output, x = W u + w:

    x' = x + attention(norm(x)),  y = x' + V gelu(U norm(x') + u) + v.

    A step hears itself and those before it, `window` in all; how near they are adds a learnt number to each head's
    scores (Raffel et al. 2020, section 2.1, without buckets). The keys and values of the steps in the window are the
    state.

    Args:
        width, layers, dropout: as everywhere.
        heads: H, which divide D.
        window: how many steps are heard.
    """

    open_state = False

    def __init__(
        self, width: int = 512, layers: int = 1, dropout: float = 0.0, heads: int = 8, window: int = 64
    ) -> None:
        super().__init__(width, layers, dropout)
        if heads < 1 or width % heads:
            raise UserError(f"CausalSelfAttention: heads ({heads}) must divide the width ({width})")
        if window < 2:
            raise UserError(f"CausalSelfAttention: window must be at least 2, not {window}")
        self.heads, self.window = heads, window

    def _layer(self, input_width: int) -> Layer:
        return _AttentionLayer(input_width, self.width, self.heads, self.window)

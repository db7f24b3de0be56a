"""Causal self-attention behind the interface of a recurrence: what recurrences are compared with.

It has no summary of the past: its state is what it heard, as far back as its window.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree
from vlrnn.nn.recurrent.base import LayeredRecurrence, RecurrentLayer
from vlrnn.nn.recurrent.linear_scan import last


class _AttentionLayer(RecurrentLayer):
    def __init__(self, input_width: int, hidden_size: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.hidden_size, self.num_heads, self.window_size = hidden_size, num_heads, window_size
        self.from_input = nn.Linear(input_width, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.maps = nn.Linear(hidden_size, 3 * hidden_size)
        self.distance = nn.Parameter(torch.zeros(num_heads, window_size))
        self.joined = nn.Linear(hidden_size, hidden_size)
        self.inner_norm = nn.LayerNorm(hidden_size)
        self.inner = nn.Sequential(
            nn.Linear(hidden_size, 4 * hidden_size), nn.GELU(), nn.Linear(4 * hidden_size, hidden_size)
        )

    def initial(self, batch_size: int) -> Tree:
        new = self.distance.new_zeros
        return (
            new(batch_size, self.hidden_size),
            new(batch_size, self.window_size - 1, 2 * self.hidden_size),
            new(batch_size, dtype=torch.long),
        )

    def forward(self, xs: Tensor, state: Tree, there: Tensor | None) -> tuple[Tensor, Tree]:
        said, heard, count = state
        xs = self.from_input(xs)
        queries, new = self.maps(self.norm(xs)).split([self.hidden_size, 2 * self.hidden_size], -1)
        heard = torch.cat([heard, new], 1)  # [B, W - 1 + T, 2 D]
        keys, values = heard.chunk(2, -1)
        query, key, value = (
            each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in (queries, keys, values)
        )
        found = F.scaled_dot_product_attention(query, key, value, self._bias(xs.shape[1], count))
        xs = xs + self.joined(found.transpose(1, 2).flatten(2))
        ys = xs + self.inner(self.inner_norm(xs))
        steps = torch.full_like(count, xs.shape[1]) if there is None else there.sum(1)
        places = steps[:, None] + torch.arange(self.window_size - 1, device=xs.device)
        heard = heard.gather(1, places[..., None].expand(-1, -1, heard.shape[2]))
        return ys, (last(ys, said, there), heard, (count + steps).clamp(max=self.window_size - 1))

    def _bias(self, time: int, count: Tensor) -> Tensor:
        """What is added to the scores [B, H, T, W - 1 + T]: by the distance between two steps; minus infinity where
        one was not yet, is no more, or, of the `count` [B] older ones, never was."""
        places = torch.arange(self.window_size - 1 + time, device=count.device)
        distances = torch.arange(time, device=count.device)[:, None] + self.window_size - 1 - places
        within = (distances >= 0) & (distances < self.window_size)
        bias = self.distance[:, distances.clamp(0, self.window_size - 1)].masked_fill(~within, float("-inf"))
        never = places < self.window_size - 1 - count[:, None]
        return bias.masked_fill(never[:, None, None], float("-inf"))


class CausalSelfAttention(LayeredRecurrence):
    """Blocks of a transformer's decoder (Vaswani et al. 2017), normalised before each part (Xiong et al. 2020), of the
    input mapped to the width of the output, x = W u + w:

    x' = x + attention(norm(x)),  y = x' + V gelu(U norm(x') + u) + v.

    A step hears itself and those before it, `window` in all; how near they are adds a learnt number to each head's
    scores (Raffel et al. 2020, section 2.1, without buckets). The keys and values of the steps in the window are the
    state.

    Args:
        hidden_size, num_layers, dropout: as everywhere.
        num_heads: H, which divide D.
        window_size: how many steps are heard.
    """

    accepts_initial_state = False

    def __init__(
        self,
        hidden_size: int = 512,
        num_layers: int = 1,
        dropout: float = 0.0,
        num_heads: int = 8,
        window_size: int = 64,
    ) -> None:
        super().__init__(hidden_size, num_layers, dropout)
        if num_heads < 1 or hidden_size % num_heads:
            raise UserError(f"CausalSelfAttention: num_heads ({num_heads}) must divide hidden_size ({hidden_size})")
        if window_size < 2:
            raise UserError(f"CausalSelfAttention: window_size must be at least 2, not {window_size}")
        self.num_heads, self.window_size = num_heads, window_size

    def _layer(self, input_width: int) -> RecurrentLayer:
        return _AttentionLayer(input_width, self.hidden_size, self.num_heads, self.window_size)

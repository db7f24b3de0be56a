"""Causal self-attention with the interface of a recurrence, for comparison; its state is the keys and values of its
window."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.errors import UserError, check_least
from vlrnn.nn.batching import Tree
from vlrnn.nn.recurrent.base import LayeredRecurrence, RecurrentLayer
from vlrnn.nn.recurrent.linear import last


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

    def forward(self, xs: Tensor, state: Tree, mask: Tensor | None) -> tuple[Tensor, Tree]:
        output, cache, count = state
        xs = self.from_input(xs)
        queries, new = self.maps(self.norm(xs)).split([self.hidden_size, 2 * self.hidden_size], -1)
        cache = torch.cat([cache, new], 1)  # [B, W - 1 + T, 2 D]
        keys, values = cache.chunk(2, -1)
        query, key, value = (
            each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in (queries, keys, values)
        )
        found = F.scaled_dot_product_attention(query, key, value, self._bias(xs.shape[1], count))
        xs = xs + self.joined(found.transpose(1, 2).flatten(2))
        ys = xs + self.inner(self.inner_norm(xs))
        steps = torch.full_like(count, xs.shape[1]) if mask is None else mask.sum(1)
        places = steps[:, None] + torch.arange(self.window_size - 1, device=xs.device)
        cache = cache.gather(1, places[..., None].expand(-1, -1, cache.shape[2]))
        return ys, (last(ys, output, mask), cache, (count + steps).clamp(max=self.window_size - 1))

    def _bias(self, time: int, count: Tensor) -> Tensor:
        """The bias of the scores [B, H, T, W - 1 + T]: by the distance between two steps; minus infinity for future
        steps, those before the window, and those before the start, `count` [B] being the number of cached steps."""
        places = torch.arange(self.window_size - 1 + time, device=count.device)
        distances = torch.arange(time, device=count.device)[:, None] + self.window_size - 1 - places
        within = (distances >= 0) & (distances < self.window_size)
        bias = self.distance[:, distances.clamp(0, self.window_size - 1)].masked_fill(~within, float("-inf"))
        never = places < self.window_size - 1 - count[:, None]
        return bias.masked_fill(never[:, None, None], float("-inf"))


class CausalSelfAttention(LayeredRecurrence):
    """Blocks of a transformer's decoder (Vaswani et al. 2017), normalised before each part (Xiong et al. 2020), of the
    input projected to hidden_size, x = W u + w:

    x' = x + attention(norm(x)),  y = x' + V gelu(U norm(x') + u) + v.

    A step attends to itself and those before it, `window_size` in all; each head's scores have a learned bias for the
    distance (Raffel et al. 2020, section 2.1, without buckets). The keys and values of the steps in the window are the
    state.

    Args:
        hidden_size, num_layers, dropout: as of `LayeredRecurrence`.
        num_heads: H, a divisor of D.
        window_size: number of steps that are attended to.
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
        check_least("CausalSelfAttention: window_size", window_size, 2)
        self.num_heads, self.window_size = num_heads, window_size

    def _layer(self, input_width: int) -> RecurrentLayer:
        return _AttentionLayer(input_width, self.hidden_size, self.num_heads, self.window_size)

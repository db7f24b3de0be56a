"""Attention: where to look, given what the recurrence holds. Knows nothing of words."""

from typing import Self

import torch
from torch import Tensor, nn

from vlrnn.parts import Part


class Attention(Part, nn.Module):
    """The interface. B images, K queries for each (beams, or captions), N regions, D their width, Q the query's
    width."""

    def build(self, query_width: int, region_width: int) -> Self:
        """Make the parameters; returns itself."""
        raise NotImplementedError

    def prepare(self, regions: Tensor) -> Tensor:
        """What does not depend on the query: regions [B, N, D] -> keys [B, N, A]."""
        raise NotImplementedError

    def forward(self, query: Tensor, keys: Tensor, regions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Look.

        Args:
            query: [B, K, Q].
            keys: [B, N, A], from `prepare`.
            regions: [B, N, D].
            mask: [B, N], true where a region is there.

        Returns:
            what is seen [B, K, D], and the weights of the regions [B, K, N], which sum to one.
        """
        raise NotImplementedError


class SoftAttention(Attention):
    """Additive attention, e_n = v . tanh(W a_n + U h) (Bahdanau, Cho, Bengio 2015; Xu et al. 2015, eq. 4 to 6).

    Args:
        width: A, of the hidden layer.
    """

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.width = width

    def build(self, query_width: int, region_width: int) -> Self:
        self.from_region = nn.Linear(region_width, self.width)
        self.from_query = nn.Linear(query_width, self.width, bias=False)
        self.score = nn.Linear(self.width, 1, bias=False)  # a bias would be lost in the softmax
        return self

    def prepare(self, regions: Tensor) -> Tensor:
        return self.from_region(regions)

    def forward(self, query: Tensor, keys: Tensor, regions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(keys[:, None] + self.from_query(query)[:, :, None])  # [B, K, N, A]
        scores = self.score(hidden).squeeze(-1)  # [B, K, N]
        weights = scores.masked_fill(~mask[:, None], float("-inf")).softmax(-1)
        return weights @ regions, weights


class DotAttention(Attention):
    """Scaled products, e_n = (W a_n) . (U h) / sqrt(A) (Vaswani et al. 2017, eq. 1, of one head; unscaled: Luong et al.
    2015). It takes a fraction of the time and memory of `SoftAttention`: no [B, K, N, A] is ever made.

    Args:
        width: A, of keys and queries.
    """

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.width = width

    def build(self, query_width: int, region_width: int) -> Self:
        self.from_region = nn.Linear(region_width, self.width, bias=False)  # a bias would be lost in the softmax
        self.from_query = nn.Linear(query_width, self.width)
        return self

    def prepare(self, regions: Tensor) -> Tensor:
        return self.from_region(regions) / self.width**0.5

    def forward(self, query: Tensor, keys: Tensor, regions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.from_query(query) @ keys.transpose(1, 2)  # [B, K, N]
        weights = scores.masked_fill(~mask[:, None], float("-inf")).softmax(-1)
        return weights @ regions, weights

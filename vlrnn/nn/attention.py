"""Attention weights over regions, from a query and keys; projection of regions to keys."""

from typing import Self

import torch
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError, check_least
from vlrnn.nn.batching import check_pair, check_shape, trial
from vlrnn.nn.encoders.base import Context

_HIDDEN = 2**19  # numbers that fit a CPU's cache


def as_multiplied(values: Tensor) -> Tensor:
    """Cast values to the type of autocast if it is enabled, once; autocast itself would cast them at every step."""
    device = values.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return values.to(torch.get_autocast_dtype(device))
    return values


class Attention(Configurable, nn.Module):
    """Interface of attention. B images, K queries for each (beams, or captions), N regions of D numbers, queries of Q
    numbers."""

    required = ("build", "prepare", "forward")

    def build(self, query_dim: int, region_dim: int) -> Self:
        """Make the parameters, for query_dim Q and region_dim D; returns itself."""
        raise NotImplementedError

    def check_built(self, query_dim: int, region_dim: int) -> None:
        if torch.empty(0).is_meta:
            return
        name = type(self).__name__
        with trial(self):
            regions, mask = torch.randn(3, 4, region_dim), torch.ones(3, 4, dtype=torch.bool)
            keys = self.prepare(regions)
            check_shape(keys, (3, 4, None), f"{name}.prepare", "[B, N, A]")
            found = self(torch.randn(3, 2, query_dim), keys, regions, mask)
            check_pair(found, f"{name}.forward", "attended features [B, K, D] and weights [B, K, N]")
            check_shape(found[0], (3, 2, region_dim), f"{name}.forward: attended features", "[B, K, D]")
            check_shape(found[1], (3, 2, 4), f"{name}.forward: weights", "[B, K, N]")

    def prepare(self, regions: Tensor) -> Tensor:
        """The keys, which do not depend on the query: regions [B, N, D] -> [B, N, A]."""
        raise NotImplementedError

    def forward(self, query: Tensor, keys: Tensor, regions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Attended features and weights.

        Args:
            query: [B, K, Q].
            keys: [B, N, A], from `prepare`.
            regions: [B, N, D].
            mask: [B, N], true for regions, false for padding.

        Returns:
            the attended features [B, K, D], and the weights of the regions [B, K, N], which sum to one.
        """
        raise NotImplementedError


class _Projected(Attention):
    """Base of attentions over projected queries and regions."""

    def __init__(self, attention_dim: int = 512) -> None:
        super().__init__()
        check_least("attention_dim", attention_dim)
        self.attention_dim = attention_dim

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """The scores [B, K, N] of queries [B, K, Q] and keys [B, N, A], up to a constant over regions."""
        raise NotImplementedError

    def forward(self, query: Tensor, keys: Tensor, regions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.scores(query, keys).masked_fill(~mask[:, None], float("-inf")).softmax(-1)
        return weights @ regions, weights


class SoftAttention(_Projected):
    """Additive attention, e_n = v . tanh(W a_n + U h) (Bahdanau, Cho, Bengio 2015; Xu et al. 2015, eq. 4 to 6).

    Args:
        attention_dim: A, of the hidden layer.
    """

    def build(self, query_dim: int, region_dim: int) -> Self:
        self.from_region = nn.Linear(region_dim, self.attention_dim)
        self.from_query = nn.Linear(query_dim, self.attention_dim, bias=False)
        self.score = nn.Linear(self.attention_dim, 1, bias=False)  # a bias would be lost in the softmax
        return self

    def prepare(self, regions: Tensor) -> Tensor:
        return self.from_region(regions)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        query = self.from_query(query)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self.score(torch.tanh(keys[:, None] + query[:, :, None])).squeeze(-1)  # of [B, K, N, A]
        return self._fast_scores(query, keys)

    def _fast_scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """The scores, of projected queries, without gradients.

        2 sigmoid(2 z) - 1 = tanh z is several times as fast, in place, and the softmax cancels the 1. On a CPU most of
        the time would be spent on allocating [B, K, N, A]; chunks of a few images reuse one buffer.
        """
        query, keys, weight = 2 * query, 2 * keys, 2 * self.score.weight[0].to(keys.dtype)
        batch_size, rows, width = query.shape
        at_once = max(1, _HIDDEN // (rows * keys.shape[1] * width)) if keys.device.type == "cpu" else batch_size
        scores = keys.new_empty(batch_size, rows, keys.shape[1])
        hidden = keys.new_empty(min(at_once, batch_size), *scores.shape[1:], width)
        for first in range(0, batch_size, at_once):
            some = slice(first, first + at_once)
            part = hidden[: len(keys[some])]
            torch.add(keys[some][:, None], query[some][:, :, None], out=part)
            torch.mv(part.sigmoid_().view(-1, width), weight, out=scores[some].view(-1))
        return scores


class DotAttention(_Projected):
    """Scaled products, e_n = (W a_n) . (U h) / sqrt(A) (Vaswani et al. 2017, eq. 1, of one head; unscaled: Luong et al.
    2015). It takes a fraction of the time and memory of `SoftAttention`: no [B, K, N, A] is ever made.

    Args:
        attention_dim: A, of keys and queries.
    """

    def build(self, query_dim: int, region_dim: int) -> Self:
        self.from_region = nn.Linear(region_dim, self.attention_dim, bias=False)  # a bias would be lost in the softmax
        self.from_query = nn.Linear(query_dim, self.attention_dim)
        return self

    def prepare(self, regions: Tensor) -> Tensor:
        return self.from_region(regions) / self.attention_dim**0.5

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return self.from_query(query) @ keys.transpose(1, 2)


_SCALE = 2.0  # of the Fourier features: small inputs are learned slowly


class RegionProjection(nn.Module):
    """Regions [..., D] -> relu(W norm(region)) [..., R], and the position concatenated.

    The layer norm (Ba, Kiros, Hinton 2016) removes differences of scale between CNNs. The position is the centre (x,
    y) of a region's box, in -1 .. 1, and sin and cos of pi k x / 2 and pi k y / 2 for k = 1 .. F (Fourier features,
    Tancik et al. 2020), with which a linear map can separate neighbouring columns. It is not added to the features, so
    that positions can be compared independently of the content.

    Args:
        output_dim: D, of the regions.
        region_dim: R.
        position_frequencies: F; 0: no position.
        dropout: of the projected features, not of the position.

    Attributes:
        output_dim: R, with a position R + 2 + 4 F.
    """

    def __init__(self, output_dim: int, region_dim: int, position_frequencies: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.position_frequencies = position_frequencies
        self.output_dim = region_dim + (2 + 4 * position_frequencies if position_frequencies else 0)
        self.what = nn.Sequential(
            nn.LayerNorm(output_dim), nn.Linear(output_dim, region_dim), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, context: Context) -> Tensor:
        """The projected regions [B, N, `output_dim`] of a context.

        Raises:
            UserError: positions are required, and the context has no boxes.
        """
        what = self.what(context.regions)
        if not self.position_frequencies:
            return what
        if context.boxes is None:
            raise UserError("decoder: position_frequencies are given, but the encoder's regions have no boxes")
        centres = context.boxes[..., :2] + context.boxes[..., 2:] - 1  # [B, N, 2]
        orders = torch.arange(1, self.position_frequencies + 1, device=centres.device)
        angles = (torch.pi / 2 * centres[..., None] * orders).flatten(2)  # [B, N, 2 * F]
        place = _SCALE * torch.cat([centres, angles.sin(), angles.cos()], -1)
        return torch.cat([what, place.to(what.dtype)], -1)

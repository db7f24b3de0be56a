"""Fusion of a question and an image: visual pooling under the question, and a joint vector of both."""

from copy import deepcopy
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.nn.attention import Attention, RegionProjection
from vlrnn.nn.batching import RowPacker, index_rows
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.fusion import Fusion
from vlrnn.nn.question_encoder import QuestionEncoder


class PooledImage(NamedTuple):
    """`sight` [M, S], and the `attention` [M, G, N] of G glimpses, where there are any."""

    features: Tensor
    attention: Tensor | None


class VisualPooling(Configurable, nn.Module):
    """The interface.

    Attributes:
        output_dim: S; known once it is built.
    """

    output_dim: int

    def build(self, question_dim: int, region_dim: int) -> Self:
        """Make the parameters, for questions Q and regions D wide; returns itself."""
        raise NotImplementedError

    def forward(self, question: Tensor, context: Context, image_index: Tensor) -> PooledImage:
        """Questions [M, Q], row m about image `image_index[m]` of the context's B."""
        raise NotImplementedError


class MeanPool(VisualPooling):
    """The mean of the regions, whatever is asked."""

    def build(self, question_dim: int, region_dim: int) -> Self:
        self.output_dim = region_dim
        return self

    def forward(self, question: Tensor, context: Context, image_index: Tensor) -> PooledImage:
        return PooledImage(index_rows(context.pooled, image_index), None)


class QuestionGuidedAttention(VisualPooling):
    """Soft attention over the regions, led by the question (Yang et al. 2016, section 3.3, of one layer); with more
    glimpses, that many beside each other (Kim et al. 2017, section 4.2).

    Args:
        attention: of one glimpse; the others are made like it.
        num_glimpses: G.
        region_dim: when given, regions are first mapped to this width (see `RegionProjection`).
        position_frequencies: how finely the map tells where a region lies; it needs a `region_width`.
        add_mean_pool: see the mean of the regions as well.
        dropout: of the mapped regions.
    """

    def __init__(
        self,
        attention: Attention,
        num_glimpses: int = 1,
        region_dim: int | None = None,
        position_frequencies: int = 0,
        add_mean_pool: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if num_glimpses < 1:
            raise UserError(f"image_pooling: num_glimpses must be at least 1, not {num_glimpses}")
        if position_frequencies and not region_dim:
            raise UserError("image_pooling: position_frequencies need a region_dim")
        self.glimpses = nn.ModuleList([attention, *(deepcopy(attention) for _ in range(num_glimpses - 1))])
        self.region_dim = region_dim
        self.position_frequencies = position_frequencies
        self.add_mean_pool = add_mean_pool
        self.dropout = dropout

    def build(self, question_dim: int, region_dim: int) -> Self:
        region_map, width = None, region_dim
        if self.region_dim:
            region_map = RegionProjection(region_dim, self.region_dim, self.position_frequencies, self.dropout)
            width = region_map.output_dim
        self.region_map = region_map
        for glimpse in cast(list[Attention], self.glimpses):
            glimpse.build(question_dim, width)
        self.output_dim = width * len(self.glimpses) + (region_dim if self.add_mean_pool else 0)
        return self

    def forward(self, question: Tensor, context: Context, image_index: Tensor) -> PooledImage:
        regions = context.regions if self.region_map is None else self.region_map(context)
        layout = RowPacker(image_index, len(regions))
        questions = layout.pack(question)  # [B, K, Q]: the regions of an image serve all its questions
        seen, weights = [], []
        for glimpse in cast(list[Attention], self.glimpses):
            sight, weight = glimpse(questions, glimpse.prepare(regions), regions, context.mask)
            seen.append(layout.unpack(sight))
            weights.append(layout.unpack(weight))
        if self.add_mean_pool:
            seen.append(index_rows(context.pooled, image_index))
        return PooledImage(torch.cat(seen, -1), torch.stack(weights, 1))


class FusedQuestion(NamedTuple):
    """Of M questions: what was asked, `question` [M, Q], with it what was seen, `fused` [M, F], and where was looked,
    `attention` [M, G, N] or None."""

    question: Tensor
    fused: Tensor
    attention: Tensor | None


class QuestionImageEncoder(nn.Module):
    """Built of parts that are built here.

    Args:
        question_encoder: reads.
        image_pooling: what of the image a question sees.
        fusion: brings the two together.
        words: those that can be read.
        region_dim: D, of the encoder's regions.

    Attributes:
        question_dim: Q.
        output_dim: F.
    """

    def __init__(
        self,
        question_encoder: QuestionEncoder,
        image_pooling: VisualPooling,
        fusion: Fusion,
        words: tuple[str, ...],
        region_dim: int,
    ) -> None:
        super().__init__()
        self.question_encoder = question_encoder.build(words)
        self.image_pooling = image_pooling.build(question_encoder.output_dim, region_dim)
        self.fusion = fusion.build(question_encoder.output_dim, image_pooling.output_dim)
        # The products of a fusion are small: left so, what is behind them is long in hearing the question.
        self.even_out = nn.LayerNorm(fusion.output_dim)
        self.question_dim = question_encoder.output_dim
        self.output_dim = fusion.output_dim

    def forward(self, tokens: Tensor, context: Context, image_index: Tensor) -> FusedQuestion:
        """Questions [M, T], row m about image `image_index[m]` of the context's B."""
        question = self.question_encoder(tokens)
        sight, attention = self.image_pooling(question, context, image_index)
        return FusedQuestion(question, self.even_out(self.fusion(question, sight)), attention)

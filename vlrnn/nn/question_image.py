"""Question and image to one vector: visual pooling guided by the question, and fusion."""

from copy import deepcopy
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError, check_least
from vlrnn.nn.attention import Attention, RegionProjection
from vlrnn.nn.batching import RowPacker, index_rows
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.fusion import Fusion
from vlrnn.nn.question_encoder import QuestionEncoder


class PooledImage(NamedTuple):
    """`features` [M, S], and the `attention` weights [M, G, N] of G glimpses, or None."""

    features: Tensor
    attention: Tensor | None


class VisualPooling(Configurable, nn.Module):
    """Interface of visual pooling.

    Attributes:
        output_dim: S; set by `build`.
    """

    output_dim: int

    def build(self, question_dim: int, region_dim: int) -> Self:
        """Make the parameters, for question_dim Q and region_dim D; returns itself."""
        raise NotImplementedError

    def forward(self, question: Tensor, context: Context, image_index: Tensor) -> PooledImage:
        """Questions [M, Q], row m about image `image_index[m]` of the context's B."""
        raise NotImplementedError


class MeanPool(VisualPooling):
    """The mean of the regions, independent of the question."""

    def build(self, question_dim: int, region_dim: int) -> Self:
        self.output_dim = region_dim
        return self

    def forward(self, question: Tensor, context: Context, image_index: Tensor) -> PooledImage:
        return PooledImage(index_rows(context.pooled, image_index), None)


class QuestionGuidedAttention(VisualPooling):
    """Soft attention over the regions with the question as query (Yang et al. 2016, section 3.3, of one layer); with
    more glimpses, the concatenation of that many (Kim et al. 2017, section 4.2).

    Args:
        attention: of one glimpse; the others are copies with separate parameters.
        num_glimpses: G.
        region_dim: project the regions to this size first (see `RegionProjection`). null: no projection.
        position_frequencies: number of Fourier frequencies of positions in the projection; needs a `region_dim`.
        add_mean_pool: concatenate the mean of the regions.
        dropout: of the projected regions.
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
        check_least("image_pooling: num_glimpses", num_glimpses)
        if position_frequencies and not region_dim:
            raise UserError("image_pooling: position_frequencies need a region_dim")
        self.attentions = nn.ModuleList([attention, *(deepcopy(attention) for _ in range(num_glimpses - 1))])
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
        for attention in cast(list[Attention], self.attentions):
            attention.build(question_dim, width)
        self.output_dim = width * len(self.attentions) + (region_dim if self.add_mean_pool else 0)
        return self

    def forward(self, question: Tensor, context: Context, image_index: Tensor) -> PooledImage:
        regions = context.regions if self.region_map is None else self.region_map(context)
        layout = RowPacker(image_index, len(regions))
        questions = layout.pack(question)  # [B, K, Q], so that regions are not copied
        pooled, weights = [], []
        for attention in cast(list[Attention], self.attentions):
            features, weight = attention(questions, attention.prepare(regions), regions, context.mask)
            pooled.append(layout.unpack(features))
            weights.append(layout.unpack(weight))
        if self.add_mean_pool:
            pooled.append(index_rows(context.pooled, image_index))
        return PooledImage(torch.cat(pooled, -1), torch.stack(weights, 1))


class FusedQuestion(NamedTuple):
    """`question` vectors [M, Q], their fusion with the image `fused` [M, F], and `attention` weights over regions
    [M, G, N] or None."""

    question: Tensor
    fused: Tensor
    attention: Tensor | None


class QuestionImageEncoder(nn.Module):
    """Question encoder, visual pooling and fusion; builds these parts.

    Args:
        question_encoder: maps a question to a vector.
        image_pooling: pools the regions to an image vector, guided by the question.
        fusion: fuses question and image vector.
        words: of questions, in the order of their ids.
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
        # The products of a fusion are small; unnormalised, the layers after it learn slowly.
        self.even_out = nn.LayerNorm(fusion.output_dim)
        self.question_dim = question_encoder.output_dim
        self.output_dim = fusion.output_dim

    def forward(self, tokens: Tensor, context: Context, image_index: Tensor) -> FusedQuestion:
        """Questions [M, T], row m about image `image_index[m]` of the context's B."""
        question = self.question_encoder(tokens)
        features, attention = self.image_pooling(question, context, image_index)
        return FusedQuestion(question, self.even_out(self.fusion(question, features)), attention)

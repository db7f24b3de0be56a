"""Fusion of a question and an image: visual pooling under the question, and a joint vector of both."""

from copy import deepcopy
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from vlrnn.config import Part
from vlrnn.errors import UserError
from vlrnn.nn.attention import Attention, RegionMap
from vlrnn.nn.batching import Layout, select
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.fusion import Fusion
from vlrnn.nn.question_encoder import Reader


class Seen(NamedTuple):
    """`sight` [M, S], and the `attention` [M, G, N] of G glimpses, where there are any."""

    sight: Tensor
    attention: Tensor | None


class Look(Part, nn.Module):
    """The interface.

    Attributes:
        width: S; known once it is built.
    """

    width: int

    def build(self, question_width: int, region_width: int) -> Self:
        """Make the parameters, for questions Q and regions D wide; returns itself."""
        raise NotImplementedError

    def forward(self, question: Tensor, context: Context, image_of: Tensor) -> Seen:
        """Questions [M, Q], row m about image `image_of[m]` of the context's B."""
        raise NotImplementedError


class WholeImage(Look):
    """The mean of the regions, whatever is asked."""

    def build(self, question_width: int, region_width: int) -> Self:
        self.width = region_width
        return self

    def forward(self, question: Tensor, context: Context, image_of: Tensor) -> Seen:
        return Seen(select(context.pooled, image_of), None)


class Glimpses(Look):
    """Soft attention over the regions, led by the question (Yang et al. 2016, section 3.3, of one layer); with more
    glimpses, that many beside each other (Kim et al. 2017, section 4.2).

    Args:
        attention: of one glimpse; the others are made like it.
        count: G.
        region_width: when given, regions are first mapped to this width (see `RegionMap`).
        frequencies: how finely the map tells where a region lies; it needs a `region_width`.
        pooled: see the mean of the regions as well.
        dropout: of the mapped regions.
    """

    def __init__(
        self,
        attention: Attention,
        count: int = 1,
        region_width: int | None = None,
        frequencies: int = 0,
        pooled: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if count < 1:
            raise UserError(f"look: count must be at least 1, not {count}")
        if frequencies and not region_width:
            raise UserError("look: frequencies need a region_width, the width of the map that they enter")
        self.glimpses = nn.ModuleList([attention, *(deepcopy(attention) for _ in range(count - 1))])
        self.region_width = region_width
        self.frequencies = frequencies
        self.pooled = pooled
        self.dropout = dropout

    def build(self, question_width: int, region_width: int) -> Self:
        region_map, width = None, region_width
        if self.region_width:
            region_map = RegionMap(region_width, self.region_width, self.frequencies, self.dropout)
            width = region_map.width
        self.region_map = region_map
        for glimpse in cast(list[Attention], self.glimpses):
            glimpse.build(question_width, width)
        self.width = width * len(self.glimpses) + (region_width if self.pooled else 0)
        return self

    def forward(self, question: Tensor, context: Context, image_of: Tensor) -> Seen:
        regions = context.regions if self.region_map is None else self.region_map(context)
        layout = Layout(image_of, len(regions))
        questions = layout.lay(question)  # [B, K, Q]: the regions of an image serve all its questions
        seen, weights = [], []
        for glimpse in cast(list[Attention], self.glimpses):
            sight, weight = glimpse(questions, glimpse.prepare(regions), regions, context.mask)
            seen.append(layout.pick(sight))
            weights.append(layout.pick(weight))
        if self.pooled:
            seen.append(select(context.pooled, image_of))
        return Seen(torch.cat(seen, -1), torch.stack(weights, 1))


class Understood(NamedTuple):
    """Of M questions: what was asked, `question` [M, Q], with it what was seen, `fused` [M, F], and where was looked,
    `attention` [M, G, N] or None."""

    question: Tensor
    fused: Tensor
    attention: Tensor | None


class Understanding(nn.Module):
    """Built of parts that are built here.

    Args:
        question_encoder: reads.
        look: what of the image a question sees.
        fusion: brings the two together.
        words: those that can be read.
        region_width: D, of the encoder's regions.

    Attributes:
        question_width: Q.
        width: F.
    """

    def __init__(
        self, question_encoder: Reader, look: Look, fusion: Fusion, words: tuple[str, ...], region_width: int
    ) -> None:
        super().__init__()
        self.question_encoder = question_encoder.build(words)
        self.look = look.build(question_encoder.width, region_width)
        self.fusion = fusion.build(question_encoder.width, look.width)
        # The products of a fusion are small: left so, what is behind them is long in hearing the question.
        self.even_out = nn.LayerNorm(fusion.width)
        self.question_width = question_encoder.width
        self.width = fusion.width

    def forward(self, tokens: Tensor, context: Context, image_of: Tensor) -> Understood:
        """Questions [M, T], row m about image `image_of[m]` of the context's B."""
        question = self.question_encoder(tokens)
        sight, attention = self.look(question, context, image_of)
        return Understood(question, self.even_out(self.fusion(question, sight)), attention)

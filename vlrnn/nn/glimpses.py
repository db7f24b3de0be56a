"""What a question looks at: the whole image, or the regions that it asks about. Knows no words.

Shapes: B images of N regions, D wide, M questions, Q their width, S that of what is seen.
"""

from copy import deepcopy
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.attention import Attention
from vlrnn.nn.context import Context
from vlrnn.nn.layout import Layout
from vlrnn.nn.regions import RegionMap
from vlrnn.nn.tree import select
from vlrnn.parts import Part


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

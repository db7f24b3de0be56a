"""What is known before speaking."""

from typing import NamedTuple

from torch import Tensor


class Context(NamedTuple):
    """The encoder's output, for B images of N regions, D wide.

    `regions` [B, N, D]; `mask` [B, N], true where a region is there; `pooled` [B, D], the mean of the regions that are
    there; `boxes` [B, N, 4], where known: (x0, y0, x1, y1) as shares of the image's width and height; `question` [B,
    Q], where one was asked.
    """

    regions: Tensor
    mask: Tensor
    pooled: Tensor
    boxes: Tensor | None = None
    question: Tensor | None = None

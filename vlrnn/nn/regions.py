"""Regions as a decoder takes them: what is in them and where they lie, in one vector. Knows nothing of words."""

import torch
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.context import Context


class RegionMap(nn.Module):
    """Regions D wide -> R wide: relu(W norm(region) + U place).

    The layer norm (Ba, Kiros, Hinton 2016) evens out the scales of different CNNs. The place is the centre (x, y) of a
    region's box, in -1 .. 1, and its waves, sin and cos of pi k x / 2 and pi k y / 2 for k = 1 .. F (Fourier features,
    Tancik et al. 2020): from the centre alone a linear map could tell left from right, but no column from the next.

    Args:
        width: D.
        mapped_width: R.
        frequencies: F; with 0 it does not matter where a region lies.
    """

    def __init__(self, width: int, mapped_width: int, frequencies: int = 0) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.what = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, mapped_width))
        self.where = nn.Linear(2 + 4 * frequencies, mapped_width, bias=False) if frequencies else None
        if self.where is not None:  # so that at first the place has as much to say as what is there
            nn.init.normal_(self.where.weight, std=(2 / 3 / (2 + 4 * frequencies)) ** 0.5)

    def forward(self, context: Context) -> Tensor:
        """The regions [B, N, R] of a context.

        Raises:
            UserError: it matters where regions lie, and the context does not say.
        """
        mapped = self.what(context.regions)
        if self.where is not None:
            if context.boxes is None:
                raise UserError("decoder: frequencies are given, but this encoder does not know where its regions lie")
            centres = context.boxes[..., :2] + context.boxes[..., 2:] - 1  # [B, N, 2]
            orders = torch.arange(1, self.frequencies + 1, device=centres.device)
            angles = (torch.pi / 2 * centres[..., None] * orders).flatten(2)  # [B, N, 2 * F]
            mapped = mapped + self.where(torch.cat([centres, angles.sin(), angles.cos()], -1).to(mapped.dtype))
        return torch.relu(mapped)

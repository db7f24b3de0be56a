"""Regions as a decoder takes them: what is in them and where they lie, in one vector. Knows nothing of words."""

import torch
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.context import Context

_LOUD = 2.0  # the size of the waves: what is small beside the rest is learnt late


class RegionMap(nn.Module):
    """Regions D wide -> relu(W norm(region)), R wide, and behind that the place.

    The layer norm (Ba, Kiros, Hinton 2016) evens out the scales of different CNNs. The place is the centre (x, y) of a
    region's box, in -1 .. 1, and its waves, sin and cos of pi k x / 2 and pi k y / 2 for k = 1 .. F (Fourier features,
    Tancik et al. 2020), by which a linear map can tell any column from the next. It stands apart from what is there, so
    that places can be compared whatever is there.

    Args:
        width: D.
        mapped_width: R.
        frequencies: F; with 0 there is no place.
        dropout: of what is there; where it is, is always told.

    Attributes:
        width: of what comes out, R, and with a place 2 + 4 F more.
    """

    def __init__(self, width: int, mapped_width: int, frequencies: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.width = mapped_width + (2 + 4 * frequencies if frequencies else 0)
        self.what = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, mapped_width), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, context: Context) -> Tensor:
        """The regions [B, N, `width`] of a context.

        Raises:
            UserError: it matters where regions lie, and the context does not say.
        """
        what = self.what(context.regions)
        if not self.frequencies:
            return what
        if context.boxes is None:
            raise UserError("decoder: frequencies are given, but this encoder does not know where its regions lie")
        centres = context.boxes[..., :2] + context.boxes[..., 2:] - 1  # [B, N, 2]
        orders = torch.arange(1, self.frequencies + 1, device=centres.device)
        angles = (torch.pi / 2 * centres[..., None] * orders).flatten(2)  # [B, N, 2 * F]
        place = _LOUD * torch.cat([centres, angles.sin(), angles.cos()], -1)
        return torch.cat([what, place.to(what.dtype)], -1)

"""The interface of encoders: images to region features, and the context of a batch that decoders take."""

import hashlib
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.nn.batching import check_shape


class Context(NamedTuple):
    """The encoder's output for B images with N regions of D features.

    `regions` [B, N, D]; `mask` [B, N], true for regions, false for padding; `pooled` [B, D], the mean of the regions;
    `boxes` [B, N, 4] or None: (x0, y0, x1, y1) as fractions of the image's width and height.
    """

    regions: Tensor
    mask: Tensor
    pooled: Tensor
    boxes: Tensor | None = None


_SIDE = 14
"""Cells along a side of the grid on which boxes are drawn."""


def on_grid(weights: Tensor, context: Context) -> Tensor | None:
    """Weights of regions [B, T, N] as weights of the cells of a square grid over the image, row by row.

    Regions that are the cells of a grid are returned unchanged. The weight of any other box is divided among the cells
    of a 14 x 14 grid whose centres are inside it. None where there are no boxes.
    """
    boxes = context.boxes
    if boxes is None:
        return None
    side = math.isqrt(weights.shape[-1])
    if side * side == weights.shape[-1] and torch.equal(boxes, grid_boxes(side, boxes).expand_as(boxes)):
        return weights
    centres = (torch.arange(_SIDE, device=boxes.device) + 0.5) / _SIDE
    x, y = ((boxes[..., axis, None] <= centres) & (centres <= boxes[..., axis + 2, None]) for axis in (0, 1))
    inside = (y[..., :, None] & x[..., None, :]).flatten(2).to(weights.dtype)  # [B, N, cells]
    return weights @ (inside / inside.sum(-1, keepdim=True).clamp(min=1))


def grid_boxes(side: int, like: Tensor) -> Tensor:
    """The boxes [1, side * side, 4] of the cells of a grid, row by row."""
    low = torch.arange(side, device=like.device) / side
    y, x = torch.meshgrid(low, low, indexing="ij")
    return torch.stack([x, y, x + 1 / side, y + 1 / side], dim=-1).view(1, side * side, 4)


class Encoder(Configurable, nn.Module):
    """Interface of encoders: uint8 images -> `Context`.

    Attributes:
        image_size: images are [B, 3, size, size].
        feature_dim: D of the regions.
        num_regions: N, of an image.
    """

    required = ("encode", "context")

    image_size: int
    feature_dim: int
    num_regions: int

    def forward(self, images: Tensor) -> Context:
        """Encode uint8 images [B, 3, S, S]; raises as `regions` does."""
        return self.context(self.regions(images))

    def regions(self, images: Tensor) -> Tensor:
        """The regions [B, N, D] of uint8 images [B, 3, S, S]; the feature cache stores them.

        Raises:
            UserError: the images are of another type or shape. Floats in 0..1, as many libraries give them, would be
                nearly black.
        """
        is_tensor = isinstance(images, Tensor)
        if not (is_tensor and images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] == 3):
            found = f"of type {type(images).__name__}"
            if is_tensor:
                found = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
            raise UserError(
                f"encoder: images are uint8 tensors [B, 3, S, S] with values in 0..255, not {found}; of floats in 0..1 "
                "make (images * 255).round().to(torch.uint8)"
            )
        regions = self.encode(images)
        shape = (None, self.num_regions, self.feature_dim)
        check_shape(regions, shape, f"{type(self).__name__}.encode: regions", "[B, num_regions, feature_dim]")
        return regions

    def check_sizes(self) -> None:
        """Raise a UserError for an encoder that lacks one of its attributes."""
        for name in ("image_size", "feature_dim", "num_regions"):
            if not isinstance(getattr(self, name, None), int):
                raise UserError(f"{type(self).__name__}: Encoder requires the attribute {name}, a whole number")

    def check_context(self, context: Context) -> None:
        """Raise a UserError for what `context` returned, if it is no Context of the right shapes."""
        name = f"{type(self).__name__}.context"
        if not isinstance(context, Context):
            raise UserError(f"{name} must return a Context(regions, mask, pooled), not a {type(context).__name__}")
        check_shape(context.regions, (None, None, self.feature_dim), f"{name}: regions", "[B, N, feature_dim]")
        batch_size, count, _ = context.regions.shape
        check_shape(context.mask, (batch_size, count), f"{name}: mask", "[B, N]")
        check_shape(context.pooled, (batch_size, self.feature_dim), f"{name}: pooled", "[B, feature_dim]")

    def encode(self, images: Tensor) -> Tensor:
        """The regions [B, N, D] of images [B, 3, S, S] checked to be uint8; encoders implement this."""
        raise NotImplementedError

    def context(self, regions: Tensor) -> Context:
        """The context of regions [B, N, D], computed or cached output of `regions`."""
        raise NotImplementedError

    @property
    def frozen(self) -> bool:
        """True if no parameter is trained; outputs can be cached then."""
        return not any(parameter.requires_grad for parameter in self.parameters())

    def folded(self, bf16: bool = False, compiled: bool = False) -> "Encoder":
        """A faster encoder for inference, not trainable, with the same output up to rounding; `bf16` and `compiled` as
        of `InferenceBackbone`."""
        return self

    def fingerprint(self) -> str:
        """A digest of everything that the regions depend on: arguments, transform and weights."""
        digest = hashlib.sha256(repr(sorted(self.arguments.items())).encode())
        for name, tensor in self.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


class BlindEncoder(Encoder):
    """Maps every image to one region of zeros, independent of its pixels: the baseline of language alone."""

    image_size = feature_dim = num_regions = 1

    def __init__(self) -> None:
        super().__init__()

    def encode(self, images: Tensor) -> Tensor:
        return images.new_zeros(len(images), 1, 1, dtype=torch.get_default_dtype())

    def context(self, regions: Tensor) -> Context:
        regions = regions.to(torch.get_default_dtype())
        corner = regions.new_zeros(len(regions), 1, 2)
        whole = torch.cat([corner, corner + 1], -1)
        return Context(regions, torch.ones_like(regions[..., 0], dtype=torch.bool), regions[:, 0], whole)

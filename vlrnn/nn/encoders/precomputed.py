"""Precomputed regions, of a detector for example, in place of an encoder."""

import numpy as np
import torch
from torch import Tensor

from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import Context, Encoder


class PrecomputedRegions(Encoder):
    """Regions read from files instead of computed from images, in training, validation, test and inference; formats:
    `vlrnn.data.region_formats`. It has no parameters. Images may have different numbers of regions.

    Args:
        path: the file or folder; a checkpoint stores the path, not the regions.
        feature_dim: D, of the regions.
    """

    image_size = 1
    num_regions = 0

    def __init__(self, path: str, feature_dim: int = 2048) -> None:
        super().__init__()
        if feature_dim < 1:
            raise UserError(f"encoder: feature_dim must be at least 1, not {feature_dim}")
        self.path = path
        self.feature_dim = feature_dim

    def encode(self, images: Tensor) -> Tensor:
        raise UserError(f"encoder: regions are read from {self.path}; they cannot be computed from pixels")

    def context(self, regions: Tensor) -> Context:
        """The context of rows of `pack_regions`, padded with zeros: [B, N, D + 1], or with boxes [B, N, D + 5]."""
        regions = regions.to(torch.get_default_dtype())
        boxes = regions[..., self.feature_dim : -1] if regions.shape[-1] > self.feature_dim + 1 else None
        present = regions[..., -1:]
        regions = regions[..., : self.feature_dim]
        pooled = regions.sum(1) / present.sum(1).clamp(min=1)
        return Context(regions, present[..., 0] > 0, pooled, boxes)

    def blank(self) -> Tensor:
        """The row of a blank image: one region of zeros that covers the whole image."""
        return torch.from_numpy(pack_regions(np.zeros((1, self.feature_dim)), np.array([[0.0, 0.0, 1.0, 1.0]])))


def pack_regions(features: np.ndarray, boxes: np.ndarray | None) -> np.ndarray:
    """Regions [N, D] and their boxes [N, 4], if any, as rows of one array, float32: [N, D + 1] or [N, D + 5]. The
    last number is 1; in rows of padding it is 0."""
    columns = [features, *([] if boxes is None else [boxes]), np.ones((len(features), 1))]
    return np.concatenate(columns, 1, dtype=np.float32)

"""An encoder without an image: the baseline of language alone."""

import torch
from torch import Tensor

from vlrnn.nn.encoders.base import Context, Encoder


class BlindEncoder(Encoder):
    """Maps every image to one region of zeros. Training the same recipe with it gives the blind baseline."""

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

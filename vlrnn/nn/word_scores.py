"""The last layer of a decoder: a score for each word of the vocabulary."""

import torch
from torch import Tensor, nn

_FEW_ROWS = 8
"""Up to so many rows, reading the weight is what takes time."""


class WordScores(nn.Linear):
    """`nn.Linear` [..., E] -> [..., V] that is fast for the few rows of a beam search for one image.

    On a CPU, few rows x times a large matrix take less time as W x^T than as x W^T, the same product
    (`benchmarks/beam_search.py`, one image). Gradients, compiled programs and exports use the plain form.
    """

    def forward(self, vectors: Tensor) -> Tensor:
        flat = vectors.reshape(-1, self.in_features)
        plain = torch.is_grad_enabled() or torch.compiler.is_compiling() or vectors.device.type != "cpu"
        if plain or len(flat) > _FEW_ROWS:
            return super().forward(vectors)
        return torch.addmm(self.bias[:, None], self.weight, flat.T).T.reshape(*vectors.shape[:-1], self.out_features)

"""Fusion: a question and what was seen for it become one vector. Knows no words and no regions.

Shapes: M questions, Q their width, D that of what is seen, F that of the fusion.
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError


class Fusion(Configurable, nn.Module):
    """The interface.

    Attributes:
        output_dim: F; known once it is built.
    """

    output_dim: int

    def build(self, question_width: int, seen_width: int) -> Self:
        """Make the parameters, for questions Q and sights D wide; returns itself."""
        raise NotImplementedError

    def forward(self, question: Tensor, seen: Tensor) -> Tensor:
        """Question [M, Q] and sight [M, D] -> [M, F]."""
        raise NotImplementedError


class _OneStep(Fusion):
    """What those share that bring the two together in one step.

    Args:
        output_dim: F.
        dropout: of the result.
    """

    def __init__(self, output_dim: int = 512, dropout: float = 0.0) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.dropout = nn.Dropout(dropout)


class Concatenation(_OneStep):
    """relu(W [question; sight / |sight|]): they stand side by side until the hidden layer.

    Args:
        width, dropout: as of its base.
    """

    def build(self, question_width: int, seen_width: int) -> Self:
        self.both = nn.Linear(question_width + seen_width, self.output_dim)
        return self

    def forward(self, question: Tensor, seen: Tensor) -> Tensor:
        both = torch.cat([question, _unit(seen)], -1)
        return self.dropout(torch.relu(self.both(both)))


class SumFusion(_OneStep):
    """tanh(W question) + tanh(V norm(sight)): what is seen speaks for answers whatever was asked (after Yang et al.
    2016, section 3.3, who add the two as they are). It holds up better than products where images are few.

    Args:
        width, dropout: as of its base.
    """

    def build(self, question_width: int, seen_width: int) -> Self:
        self.from_question = nn.Linear(question_width, self.output_dim)
        self.from_seen = nn.Sequential(nn.LayerNorm(seen_width), nn.Linear(seen_width, self.output_dim))
        return self

    def forward(self, question: Tensor, seen: Tensor) -> Tensor:
        return self.dropout(torch.tanh(self.from_question(question)) + torch.tanh(self.from_seen(seen)))


class ProductFusion(_OneStep):
    """tanh(W question) * tanh(V sight / |sight|), element by element: the deeper LSTM Q + norm I baseline of VQA (Antol
    et al. 2015).

    Args:
        width, dropout: as of its base.
    """

    def build(self, question_width: int, seen_width: int) -> Self:
        self.from_question = nn.Linear(question_width, self.output_dim)
        self.from_seen = nn.Linear(seen_width, self.output_dim)
        return self

    def forward(self, question: Tensor, seen: Tensor) -> Tensor:
        return self.dropout(torch.tanh(self.from_question(question)) * torch.tanh(self.from_seen(_unit(seen))))


class MLB(Fusion):
    """MLB: P (tanh(U question) * tanh(V sight)) + b, a bilinear map of low rank (Kim et al. 2017, eq. 8).

    Args:
        output_dim: F.
        rank: d, of the product.
        dropout: of the product.
    """

    def __init__(self, output_dim: int = 512, rank: int = 1024, dropout: float = 0.0) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.product = ProductFusion(rank, dropout)

    def build(self, question_width: int, seen_width: int) -> Self:
        self.product.build(question_width, seen_width)
        self.out = nn.Linear(self.product.output_dim, self.output_dim)
        return self

    def forward(self, question: Tensor, seen: Tensor) -> Tensor:
        return self.out(self.product(question, seen))


class Mutan(Fusion):
    """MUTAN: a Tucker decomposition whose core is a sum of R products, sum_r (M_r tanh(U q)) * (N_r tanh(V v))
    (Ben-younes et al. 2017, eq. 11 to 13).

    Args:
        hidden_size: F, the third dimension of the core.
        hidden_size: width of question and sight within the core.
        rank: R.
        dropout: of question and sight within the core.
    """

    def __init__(self, output_dim: int = 360, hidden_size: int = 360, rank: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        if rank < 1:
            raise UserError(f"fusion: rank must be at least 1, not {rank}")
        self.output_dim = output_dim
        self.hidden_size = hidden_size
        self.rank = rank
        self.dropout = nn.Dropout(dropout)

    def build(self, question_width: int, seen_width: int) -> Self:
        self.from_question = nn.Linear(question_width, self.hidden_size)
        self.from_seen = nn.Linear(seen_width, self.hidden_size)
        self.core_question = nn.Linear(self.hidden_size, self.rank * self.output_dim)
        self.core_seen = nn.Linear(self.hidden_size, self.rank * self.output_dim)
        return self

    def forward(self, question: Tensor, seen: Tensor) -> Tensor:
        question = self.dropout(torch.tanh(self.from_question(question)))
        seen = self.dropout(torch.tanh(self.from_seen(_unit(seen))))
        product = self.core_question(question) * self.core_seen(seen)  # [M, R * F]
        return product.unflatten(-1, (self.rank, self.output_dim)).sum(-2)


def _unit(seen: Tensor) -> Tensor:
    """Of length 1, whatever the encoder; features of CNNs come in all sizes, words do not."""
    return F.normalize(seen, dim=-1)

"""Fusion of a question vector and an image vector into one vector.

Shapes: M questions; vectors of Q (question), D (image) and F (fusion) numbers.
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import check_least


class Fusion(Configurable, nn.Module):
    """Interface of fusions.

    Attributes:
        output_dim: F; set by `build` at the latest.
    """

    output_dim: int

    def build(self, question_dim: int, image_dim: int) -> Self:
        """Make the parameters, for question_dim Q and image_dim D; returns itself."""
        raise NotImplementedError

    def forward(self, question: Tensor, image: Tensor) -> Tensor:
        """Question [M, Q] and image [M, D] -> [M, F]."""
        raise NotImplementedError


class _OneStep(Fusion):
    """Base of fusions with only an output size and a dropout; `Args` as of `Concatenation`."""

    def __init__(self, output_dim: int = 512, dropout: float = 0.0) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.dropout = nn.Dropout(dropout)


class Concatenation(_OneStep):
    """relu(W [question; image / |image|]): concatenation, and a hidden layer.

    Args:
        output_dim: F.
        dropout: of the result.
    """

    def build(self, question_dim: int, image_dim: int) -> Self:
        self.both = nn.Linear(question_dim + image_dim, self.output_dim)
        return self

    def forward(self, question: Tensor, image: Tensor) -> Tensor:
        both = torch.cat([question, _unit(image)], -1)
        return self.dropout(torch.relu(self.both(both)))


class SumFusion(_OneStep):
    """tanh(W question) + tanh(V norm(image)): the image contributes independently of the question (after Yang et al.
    2016, section 3.3, who add the two directly). It degrades less than products when there are few images.

    Args:
        output_dim: F.
        dropout: of the result.
    """

    def build(self, question_dim: int, image_dim: int) -> Self:
        self.from_question = nn.Linear(question_dim, self.output_dim)
        self.from_image = nn.Sequential(nn.LayerNorm(image_dim), nn.Linear(image_dim, self.output_dim))
        return self

    def forward(self, question: Tensor, image: Tensor) -> Tensor:
        return self.dropout(torch.tanh(self.from_question(question)) + torch.tanh(self.from_image(image)))


class ProductFusion(_OneStep):
    """tanh(W question) * tanh(V image / |image|), element by element: the deeper LSTM Q + norm I baseline of VQA (Antol
    et al. 2015).

    Args:
        output_dim: F.
        dropout: of the result.
    """

    def build(self, question_dim: int, image_dim: int) -> Self:
        self.from_question = nn.Linear(question_dim, self.output_dim)
        self.from_image = nn.Linear(image_dim, self.output_dim)
        return self

    def forward(self, question: Tensor, image: Tensor) -> Tensor:
        return self.dropout(torch.tanh(self.from_question(question)) * torch.tanh(self.from_image(_unit(image))))


class MLB(Fusion):
    """MLB: P (tanh(U question) * tanh(V image)) + b, a bilinear map of low rank (Kim et al. 2017, eq. 8).

    Args:
        output_dim: F.
        rank: d, of the product.
        dropout: of the product.
    """

    def __init__(self, output_dim: int = 512, rank: int = 1024, dropout: float = 0.0) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.product = ProductFusion(rank, dropout)

    def build(self, question_dim: int, image_dim: int) -> Self:
        self.product.build(question_dim, image_dim)
        self.out = nn.Linear(self.product.output_dim, self.output_dim)
        return self

    def forward(self, question: Tensor, image: Tensor) -> Tensor:
        return self.out(self.product(question, image))


class Mutan(Fusion):
    """MUTAN: a Tucker decomposition whose core is a sum of R products, sum_r (M_r tanh(U q)) * (N_r tanh(V v))
    (Ben-younes et al. 2017, eq. 11 to 13).

    Args:
        output_dim: F, the third dimension of the core.
        hidden_size: of question and image within the core.
        rank: R.
        dropout: of question and image within the core.
    """

    def __init__(self, output_dim: int = 360, hidden_size: int = 360, rank: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        check_least("fusion: rank", rank)
        self.output_dim = output_dim
        self.hidden_size = hidden_size
        self.rank = rank
        self.dropout = nn.Dropout(dropout)

    def build(self, question_dim: int, image_dim: int) -> Self:
        self.from_question = nn.Linear(question_dim, self.hidden_size)
        self.from_image = nn.Linear(image_dim, self.hidden_size)
        self.core_question = nn.Linear(self.hidden_size, self.rank * self.output_dim)
        self.core_image = nn.Linear(self.hidden_size, self.rank * self.output_dim)
        return self

    def forward(self, question: Tensor, image: Tensor) -> Tensor:
        question = self.dropout(torch.tanh(self.from_question(question)))
        image = self.dropout(torch.tanh(self.from_image(_unit(image))))
        product = self.core_question(question) * self.core_image(image)  # [M, R * F]
        return product.unflatten(-1, (self.rank, self.output_dim)).sum(-2)


def _unit(image: Tensor) -> Tensor:
    """The image vector normalised to length 1, since the scales of features differ between CNNs."""
    return F.normalize(image, dim=-1)

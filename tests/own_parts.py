"""A recurrence, a decoder and an objective as a user writes them, outside vlrnn: tests copy this file as
`my_parts.py`."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.text.tokenizers import LMTokenizer
from vlrnn.training.objectives.base import Loss
from vlrnn.training.objectives.cross_entropy import CrossEntropy


class LeakyUnit(Recurrence):
    """A recurrence without gates: the state moves a share of the way to tanh of a linear map."""

    def __init__(self, hidden_size: int = 8, share: float = 0.5) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.share = share

    def build(self, input_width: int) -> Self:
        self.linear = nn.Linear(input_width + self.hidden_size, self.hidden_size)
        return self

    def initial_state(self, batch_size: int) -> Tensor:
        return self.linear.weight.new_zeros(batch_size, self.hidden_size)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.lerp(state, torch.tanh(self.linear(torch.cat([x, state], -1))), self.share)
        return state, state

    def forward(self, xs: Tensor, state: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert lengths is None, "questions are not tested with it"
        outputs = []
        for x in xs.unbind(1):
            output, state = self.step(x, state)
            outputs.append(output)
        return torch.stack(outputs, 1), state


class ShiftedShowAndTell(ShowAndTell):
    """Show and Tell whose image vector is shifted by learnt numbers."""

    def __init__(self, recurrence: Recurrence, embedding_dim: int = 8, dropout: float = 0.0) -> None:
        super().__init__(recurrence, embedding_dim, dropout)

    def build(self, *sizes: Any, **named_sizes: Any) -> Self:
        super().build(*sizes, **named_sizes)
        self.image = nn.Sequential(self.image, nn.LayerNorm(self.embedding_dim))  # type: ignore[assignment]
        return self


class UnhintedShowAndTell(ShowAndTell):
    """Show and Tell whose constructor does not name the base of its part: no checkpoint can build it."""

    def __init__(self, recurrence: Any) -> None:
        super().__init__(recurrence, 8)


class Pairs(LMTokenizer):
    """Two characters are a unit."""

    name = "pairs"

    def split(self, text: str) -> Sequence[str]:
        return [text[start : start + 2] for start in range(0, len(text), 2)]


class ScaledCrossEntropy(CrossEntropy):
    """Cross entropy times a weight that learns."""

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(start))

    def loss(self, task: Any, batch: Any) -> Loss:
        plain = super().loss(task, batch)
        return Loss(self.scale.exp() * plain.total, plain.count)

"""From a stream of vectors (frames, embedded characters) to one class, or to a class at every step, by any recurrence.
Knows no images and no words."""

from typing import Self

import torch
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.nn.question_encoder import TemporalPooling
from vlrnn.nn.recurrent.base import Recurrence, require_causal


class SequenceClassifier(Configurable, nn.Module):
    """A recurrence reads a stream, and a linear map scores the classes.

    Args:
        recurrence: any.
        classes: A, how many there are.
        pooling: many to one: what of the steps is classified. None: many to many, each step is, by what was there up to
            it.
        dropout: of what is classified.
    """

    def __init__(
        self, recurrence: Recurrence, classes: int, pooling: TemporalPooling | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.recurrence = recurrence if pooling is not None else require_causal(recurrence)
        self.classes = classes
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)

    def build(self, input_width: int) -> Self:
        """Make the parameters, for vectors of this width; returns itself."""
        self.recurrence.build(input_width)
        self.score = nn.Linear(self.recurrence.hidden_size, self.classes)
        return self

    def forward(self, xs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score streams.

        Args:
            xs: [B, T, I].
            lengths: [B], 0..T, where rows end; None: all at T.

        Returns:
            logits [B, A]; without pooling [B, T, A], those past a row's end being of no meaning.
        """
        outputs, _ = self.recurrence(xs, self.recurrence.initial_state(len(xs)), lengths)
        if self.pooling is not None:
            ends = lengths if lengths is not None else torch.full((len(xs),), xs.shape[1], device=xs.device)
            outputs = self.pooling(outputs, ends)
        return self.score(self.dropout(outputs))

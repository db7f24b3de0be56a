"""Classification of sequences of vectors (frames, embedded characters), as a whole or at every step."""

from typing import Self

import torch
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.nn.question_encoder import TemporalPooling
from vlrnn.nn.recurrent.base import Recurrence, require_causal


class SequenceClassifier(Configurable, nn.Module):
    """A recurrence over a sequence, and a linear map to logits of classes.

    Args:
        recurrence: any; without pooling a causal one.
        classes: A, their number.
        pooling: of the outputs over time: one label per sequence. None: one label per step.
        dropout: of the input of the linear map.
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
        """Make the parameters, for inputs of this size; returns itself."""
        self.recurrence.build(input_width)
        self.score = nn.Linear(self.recurrence.hidden_size, self.classes)
        return self

    def forward(self, xs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score sequences.

        Args:
            xs: [B, T, I].
            lengths: [B], 0..T; None: all T.

        Returns:
            logits [B, A]; without pooling [B, T, A], undefined past a row's length.
        """
        outputs, _ = self.recurrence(xs, self.recurrence.initial_state(len(xs)), lengths)
        if self.pooling is not None:
            ends = lengths if lengths is not None else torch.full((len(xs),), xs.shape[1], device=xs.device)
            outputs = self.pooling(outputs, ends)
        return self.score(self.dropout(outputs))

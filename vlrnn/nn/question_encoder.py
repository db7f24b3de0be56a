"""Question encoders: word ids to one vector, by any recurrence; pooling over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.nn.batching import length_mask
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.text.vocabulary import PAD


class TemporalPooling(Configurable, nn.Module):
    """The interface. A row of no steps is zeros; what lies past its length never counts."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Outputs [B, T, D] of rows that are `lengths` [B] long, 0..T -> [B, D]."""
        raise NotImplementedError


class LastStep(TemporalPooling):
    """What was said at the last step: the recurrence itself must carry there all that counts."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        lengths = lengths.to(outputs.device, non_blocking=True)
        rows = torch.arange(len(outputs), device=outputs.device)
        return torch.where((lengths > 0)[:, None], outputs[rows, (lengths - 1).clamp(min=0)], 0.0)


class MeanOverTime(TemporalPooling):
    """The mean over steps: every step is as near to the loss as the last (gradients need not go far), and none stands
    out."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        there = length_mask(lengths, outputs)[..., None]
        return outputs.where(there, 0.0).sum(1) / there.sum(1).clamp(min=1)


class MaxOverTime(TemporalPooling):
    """The largest value of each number over steps: whether something was there at all, whenever (Collobert and Weston
    2008; over recurrences: Conneau et al. 2017, section 3.2.2)."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        there = length_mask(lengths, outputs)[..., None]
        return outputs.where(there, -torch.inf).amax(1).where(there.any(1), 0.0)


_SPREAD = 0.4  # of the numbers of words, as GloVe has it; of smaller ones too little is left behind fusion


class QuestionEncoder(Configurable, nn.Module):
    """The interface.

    Attributes:
        output_dim: Q, of a question.
    """

    output_dim: int

    def build(self, words: Sequence[str]) -> Self:
        """Make the parameters, for words in the order of their ids; returns itself."""
        raise NotImplementedError

    def forward(self, tokens: Tensor) -> Tensor:
        """Questions [M, T], filled up with `<pad>` -> [M, Q]."""
        raise NotImplementedError


class NoQuestion(QuestionEncoder):
    """Reads nothing: every question is the same zero. Training the same recipe with it gives the baseline that only
    sees."""

    output_dim = 1

    def build(self, words: Sequence[str]) -> Self:
        return self

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.zeros(len(tokens), 1, device=tokens.device)


class RecurrentQuestionEncoder(QuestionEncoder):
    """Words are embedded, the recurrence reads them, and what it says at the last one, or over all, is the question.

    Args:
        recurrence: any.
        embedding_dim: the width of words.
        dropout: of words, and of the question.
        embedding_weights: a text file of word vectors, a word and its numbers on a line, as GloVe (Pennington, Socher,
            Manning 2014) comes; words that it lacks start as they would without it. null: all words do.
        sum_layers: the question is the sum over layers of their last outputs, as the deeper LSTM baseline of VQA (Antol
            et al. 2015) let both layers speak, instead of that of the last layer.
        layer_norm: the question passes a layer norm (Ba, Kiros, Hinton 2016). What a recurrence says is small at first,
            and attention and fusion are long in hearing it.
        pooling: what of all that the last layer says is the question. null: what it says at the last word
            (and what reads both ways, at the first too).
    """

    def __init__(
        self,
        recurrence: Recurrence,
        embedding_dim: int = 300,
        dropout: float = 0.0,
        embedding_weights: str | None = None,
        sum_layers: bool = False,
        layer_norm: bool = False,
        pooling: TemporalPooling | None = None,
    ) -> None:
        super().__init__()
        if sum_layers and pooling is not None:
            raise UserError("question_encoder: sum_layers sums what the layers say at the last word; leave pooling out")
        self.recurrence = recurrence
        self.embedding_dim = embedding_dim
        self.dropout = nn.Dropout(dropout)
        self.embedding_weights = embedding_weights
        self.sum_layers = sum_layers
        self.pooling = pooling
        self.even_out = nn.LayerNorm(recurrence.hidden_size) if layer_norm else nn.Identity()
        self.output_dim = recurrence.hidden_size
        # A checkpoint holds the vectors and must not look for the file they came from.
        self.arguments |= {"embedding_weights": None}

    def build(self, words: Sequence[str]) -> Self:
        """Make the parameters, for words in the order of their ids; returns itself.

        Raises:
            UserError: the file of word vectors does not fit.
        """
        self.embedding = nn.Embedding(len(words), self.embedding_dim, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=_SPREAD)
        self.embedding.weight.data[PAD] = 0
        if self.embedding_weights is not None:
            _fill(self.embedding.weight.data, words, Path(self.embedding_weights))
        self.recurrence.build(self.embedding_dim)
        return self

    def forward(self, tokens: Tensor) -> Tensor:
        """Questions [M, T], filled up with `<pad>` -> [M, Q]; one without words is what the recurrence starts with."""
        start = self.recurrence.initial_state(len(tokens))
        lengths = (tokens != PAD).sum(1)
        words = self.embedding(tokens.to(self.embedding.weight.device, non_blocking=True))
        outputs, state = self.recurrence(self.dropout(words), start, lengths)
        if self.pooling is not None:
            question = self.pooling(outputs, lengths)
        else:  # of what reads both ways each half has read all of it
            said = self.recurrence.layer_outputs(state)
            question = said.sum(1) if self.sum_layers else said[:, -1]
        return self.dropout(self.even_out(question))


def _fill(table: Tensor, words: Sequence[str], path: Path) -> None:
    """Put the vectors of a file into the rows of the words that it has."""
    rows = {word: row for row, word in enumerate(words)}
    found, width = 0, table.shape[1]
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                word, *values = line.rstrip().rsplit(" ", width)  # some entries of GloVe's hold spaces
                first, *more = word.split(" ")
                if first in rows and (len(values) < width or (more and all(map(_is_number, more)))):
                    count = len(more) + len(values)
                    raise UserError(f"{path}:{number}: {count} numbers, where the embedding is {width} wide")
                if word not in rows:
                    continue
                table[rows[word]] = torch.tensor([float(value) for value in values])
                found += 1
    except OSError as fault:
        raise UserError(f"question_encoder: {path}: {fault.strerror or fault}") from None
    except ValueError as fault:
        raise UserError(f"{path}: no text file of word vectors: {fault}") from None
    if not found:
        raise UserError(f"{path}: holds none of the {len(words)} words")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

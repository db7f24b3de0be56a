"""Question encoders: word ids to one vector, by any recurrence; pooling over time; classification of sequences of
vectors (frames, embedded characters), as a whole or at every step."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.nn.batching import length_mask
from vlrnn.nn.recurrent.base import Recurrence, require_causal
from vlrnn.nn.word_vectors import load_word_vectors
from vlrnn.text.vocabulary import PAD


class TemporalPooling(Configurable, nn.Module):
    """Interface of pooling over time. A row of length 0 gives zeros; steps past the length are ignored."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Outputs [B, T, D] of rows with lengths [B], 0..T -> [B, D]."""
        raise NotImplementedError


class LastStep(TemporalPooling):
    """The output at the last step."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        lengths = lengths.to(outputs.device, non_blocking=True)
        rows = torch.arange(len(outputs), device=outputs.device)
        return torch.where((lengths > 0)[:, None], outputs[rows, (lengths - 1).clamp(min=0)], 0.0)


class MeanOverTime(TemporalPooling):
    """The mean over steps."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        mask = length_mask(lengths, outputs)[..., None]
        return outputs.where(mask, 0.0).sum(1) / mask.sum(1).clamp(min=1)


class MaxOverTime(TemporalPooling):
    """The maximum of each unit over steps (Collobert and Weston 2008; over recurrences: Conneau et al. 2017, section
    3.2.2)."""

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        mask = length_mask(lengths, outputs)[..., None]
        return outputs.where(mask, -torch.inf).amax(1).where(mask.any(1), 0.0)


_SPREAD = 0.4  # standard deviation of word vectors, as of GloVe; with smaller ones fusion learns slowly


class QuestionEncoder(Configurable, nn.Module):
    """Interface of question encoders.

    Attributes:
        output_dim: Q, of a question vector.
    """

    output_dim: int

    def build(self, words: Sequence[str]) -> Self:
        """Make the parameters, for words in the order of their ids; returns itself."""
        raise NotImplementedError

    def forward(self, tokens: Tensor) -> Tensor:
        """Questions [M, T], padded with `<pad>` -> [M, Q]."""
        raise NotImplementedError


class NoQuestion(QuestionEncoder):
    """Maps every question to zero: the baseline of the image alone."""

    output_dim = 1

    def build(self, words: Sequence[str]) -> Self:
        return self

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.zeros(len(tokens), 1, device=tokens.device)


class RecurrentQuestionEncoder(QuestionEncoder):
    """Embedded words, a recurrence over them, and its last output, or its pooled outputs, as the question vector.

    Args:
        recurrence: any.
        embedding_dim: of words.
        dropout: of words, and of the question vector.
        embedding_weights: a text file of word vectors, or `glove.6B.50d` of an installed package, as
            `vlrnn.nn.word_vectors` reads them; words not in it are initialised at random. null: all words are.
        sum_layers: use the sum of the last outputs of all layers, as the deeper LSTM baseline of VQA (Antol et al.
            2015) uses both layers, instead of that of the last layer.
        layer_norm: apply layer norm (Ba, Kiros, Hinton 2016) to the question vector. Recurrent outputs are small at
            initialisation; unnormalised, attention and fusion learn slowly.
        pooling: of the last layer's outputs over time. null: the output at the last word (of a bidirectional
            recurrence also that of the backward direction at the first).
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
            raise UserError("question_encoder: sum_layers sums the last outputs of the layers; leave pooling out")
        self.recurrence = recurrence
        self.embedding_dim = embedding_dim
        self.dropout = nn.Dropout(dropout)
        self.embedding_weights = embedding_weights
        self.sum_layers = sum_layers
        self.pooling = pooling
        self.even_out = nn.LayerNorm(recurrence.hidden_size) if layer_norm else nn.Identity()
        self.output_dim = recurrence.hidden_size
        # A checkpoint has the vectors, and must not need the file that they came from.
        self.arguments |= {"embedding_weights": None}

    def build(self, words: Sequence[str]) -> Self:
        """Make the parameters, for words in the order of their ids; returns itself.

        Raises:
            UserError: the word vectors do not fit.
        """
        self.embedding = nn.Embedding(len(words), self.embedding_dim, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=_SPREAD)
        self.embedding.weight.data[PAD] = 0
        if self.embedding_weights is not None:
            load_word_vectors(self.embedding, words, self.embedding_weights)
        self.recurrence.build(self.embedding_dim)
        return self

    def forward(self, tokens: Tensor) -> Tensor:
        """Questions [M, T], padded with `<pad>` -> [M, Q]; one without words gives the output of the initial state."""
        start = self.recurrence.initial_state(len(tokens))
        lengths = (tokens != PAD).sum(1)
        words = self.embedding(tokens.to(self.embedding.weight.device, non_blocking=True))
        outputs, state = self.recurrence(self.dropout(words), start, lengths)
        if self.pooling is not None:
            question = self.pooling(outputs, lengths)
        else:  # bidirectional: each direction after its own last step
            layer_outputs = self.recurrence.layer_outputs(state)
            question = layer_outputs.sum(1) if self.sum_layers else layer_outputs[:, -1]
        return self.dropout(self.even_out(question))


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

"""Own classes as a user writes them, outside vlrnn: tests copy this file as `my_parts.py`."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.data.batches import Batch
from vlrnn.data.records import Example, Id, Prediction
from vlrnn.nn.decoders.base import Decoder, DecoderOutput
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import Context, Encoder
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.text.tokenizers import LMTokenizer
from vlrnn.text.vocabulary import Vocabulary
from vlrnn.training.module import Task
from vlrnn.training.objectives.base import CrossEntropy, Loss
from vlrnn.training.optimization import Optimization


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


class ShiftedDecoder(ShowAndTell):
    """Show and Tell whose image vector is shifted by learnt numbers."""

    def __init__(self, recurrence: Recurrence, embedding_dim: int = 8, dropout: float = 0.0) -> None:
        super().__init__(recurrence, embedding_dim, dropout)

    def build(self, *sizes: Any, **named_sizes: Any) -> Self:
        super().build(*sizes, **named_sizes)
        self.image = nn.Sequential(self.image, nn.LayerNorm(self.embedding_dim))  # type: ignore[assignment]
        return self


class PooledDecoder(Decoder):
    """A decoder for captions, with the mean region as input at every step."""

    def __init__(self, recurrence: Recurrence, embedding_dim: int = 8) -> None:
        super().__init__()
        self.recurrence = recurrence
        self.embedding_dim = embedding_dim

    def build(self, vocab_size: int, feature_dim: int, condition_dim: int = 0) -> Self:
        self.embedding = nn.Embedding(vocab_size, self.embedding_dim)
        self.recurrence.build(self.embedding_dim + feature_dim)
        self.score = nn.Linear(self.recurrence.hidden_size, vocab_size)
        return self

    def prepare(self, context: Context) -> Tensor:
        return context.pooled

    def init_state(self, memory: Tensor, condition: Tensor | None = None) -> Any:
        return self.recurrence.initial_state(memory.shape[0])

    def step(self, tokens: Tensor, state: Any, memory: Tensor) -> tuple[DecoderOutput, Any]:
        pooled = memory[:, None].expand(-1, tokens.shape[1], -1)
        x = torch.cat([self.embedding(tokens), pooled], -1).flatten(0, 1)
        hidden, state = self.recurrence.step(x, state)
        return DecoderOutput(hidden.unflatten(0, tokens.shape)), state

    def logits(self, hidden: Tensor) -> Tensor:
        return self.score(hidden)


class UnhintedDecoder(ShowAndTell):
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


class CellColours(Encoder):
    """The mean colours of 16 cells of an image, weighted by the place of each."""

    image_size, feature_dim, num_regions = 8, 6, 16

    def encode(self, images: Tensor) -> Tensor:
        colours = F.avg_pool2d(images / 255, 2)  # [B, 3, 4, 4]
        across = torch.linspace(-1, 1, 4)
        return torch.cat([colours * across, colours * across[:, None]], 1).flatten(2).mT

    def context(self, regions: Tensor) -> Context:
        regions = regions.float()
        return Context(regions, torch.ones(regions.shape[:2], dtype=torch.bool), regions.mean(1))


def place(example: Example) -> str:
    """The last word of the first caption."""
    return example.captions[0].split()[-1].strip(".")


class PlaceNaming(Task):
    """The last word of a caption, from an image: a recurrence over its regions, and a linear layer.

    Args:
        vocabulary: the words of captions.
        encoder: maps images to region features.
        recurrence: over the regions.
    """

    summary = "names places"
    monitor = "right"

    def __init__(self, vocabulary: Vocabulary, encoder: Encoder, recurrence: Recurrence) -> None:
        super().__init__(encoder, Optimization(lr=0.02))
        self.vocabulary = vocabulary
        self.recurrence = recurrence.build(encoder.feature_dim)
        self.classify = nn.Linear(recurrence.hidden_size, len(vocabulary))

    def logits(self, batch: Batch) -> Tensor:
        """[B, V], for each image."""
        regions = self.encode_images(batch).regions
        outputs, _ = self.recurrence(regions, self.recurrence.initial_state(len(regions)))
        return self.classify(outputs.mean(1))

    def loss(self, batch: Batch) -> Loss:
        targets = torch.tensor(self.vocabulary.encode(map(place, batch.examples)))
        return Loss(F.cross_entropy(self.logits(batch), targets, reduction="sum"), torch.tensor(float(len(targets))))

    def predict(self, batch: Batch) -> list[Prediction]:
        best = self.logits(batch).softmax(-1).max(-1)
        words = self.vocabulary.decode(best.indices.tolist())
        return [
            Prediction(example.id, example.image_id, word, score=score, settings={"score": "probability"})
            for example, word, score in zip(batch.examples, words, best.values.tolist(), strict=True)
        ]

    def score(self, predictions: Mapping[Id, Prediction], examples: Mapping[Id, Example]) -> dict[str, Any]:
        right = [predictions[id].text == place(each) for id, each in examples.items()]
        return {"scores": {"right": 100 * sum(right) / len(right)}, "settings": {"n": len(right)}}

"""Captioning: an image goes in, a sentence comes out.

How a caption comes about: the encoder turns the image into a context; the decoder prepares its memory of it, and where
to start; the search asks the decoder's step for one word after the other; the vocabulary turns ids into words.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from vlrnn.data.datamodule import Batch
from vlrnn.decoding.search import Decoding, search
from vlrnn.errors import UserError
from vlrnn.metrics import CaptionScorer
from vlrnn.nn.context import Context
from vlrnn.nn.decoders import Decoder
from vlrnn.nn.encoders import Encoder
from vlrnn.records import Example, Id, Prediction
from vlrnn.tasks.base import Task
from vlrnn.tasks.objectives import Loss, WordLoss
from vlrnn.tasks.optimization import Optimization
from vlrnn.text.tokenizer import detokenize
from vlrnn.text.vocabulary import BOS, EOS, PAD, UNK, Vocabulary


class Utterance(NamedTuple):
    """One sentence: its `text`, the `tokens` it is made of, the `log_probs` (natural) of each and, last, of its `<eos>`
    where it was said, and the `score` that the search gave it."""

    text: str
    tokens: tuple[str, ...]
    log_probs: tuple[float, ...]
    score: float


class Captioner(Task):
    """An encoder and a recurrent decoder, trained word by word on captions.

    Args:
        vocabulary: the words.
        encoder: sees.
        decoder: speaks; it is built here, for this vocabulary and encoder.
        decoding: how sentences are searched for in validation and test.
        loss: what training minimises.
        optimization: how.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        encoder: Encoder,
        decoder: Decoder,
        decoding: Decoding = Decoding(),  # noqa: B008 (frozen, as the next two)
        loss: WordLoss = WordLoss(),  # noqa: B008
        optimization: Optimization = Optimization(),  # noqa: B008
    ) -> None:
        super().__init__(encoder, optimization)
        self.vocabulary = vocabulary
        self.decoder = decoder.build(len(vocabulary), encoder.width)
        self.decoding = decoding
        self.word_loss = loss
        self._scorers: dict[tuple[Id, ...], CaptionScorer] = {}

    def see(self, batch: Batch) -> Context:
        """The context [B, ...] of a batch, from its pixels or from cached regions."""
        if batch.regions is not None:
            return self.encoder.context(batch.regions)
        assert batch.images is not None
        return self.encoder(batch.images)

    def seen(self, batch: Batch) -> Batch:
        if batch.images is None:
            return batch
        return batch._replace(images=None, regions=self.encoder.regions(batch.images))

    def loss(self, batch: Batch) -> Loss:
        memory = self.decoder.prepare(self.see(batch))
        said = self.decoder.read(batch.tokens[:, :-1], memory, batch.image_of)
        return self.word_loss(self.decoder, said, batch.tokens[:, 1:])

    @torch.no_grad()
    def speak(
        self, context: Context, decoding: Decoding, generator: torch.Generator | None = None
    ) -> list[list[Utterance]]:
        """Sentences about B images, the best first: B lists of up to `decoding.num_return_sequences`."""
        memory = self.decoder.prepare(context)
        start = self.decoder.initial_state(memory)
        found = search(
            self.decoder.step, start, memory, decoding, bos=BOS, eos=EOS, forbidden=(PAD, BOS, UNK), generator=generator
        )
        if not found.scores[:, 0].isfinite().all():
            raise UserError("the model's scores are no numbers: its training has diverged; lower optimization.lr")
        rows = found.scores.isfinite().nonzero()[:, 0]  # [M] the image of each hypothesis that exists
        tokens, lengths = found.tokens[found.scores.isfinite()], found.lengths[found.scores.isfinite()]
        inputs = torch.cat([torch.full_like(tokens[:, :1], BOS), tokens[:, :-1]], 1)
        log_probs = self.decoder(inputs, memory, rows).float().log_softmax(-1).gather(2, tokens[..., None])[..., 0]
        scores = found.scores[found.scores.isfinite()]
        sentences: list[list[Utterance]] = [[] for _ in found.scores]
        columns = (rows.tolist(), tokens.tolist(), lengths.tolist(), log_probs.tolist(), scores.tolist())
        for row, ids, length, each, score in zip(*columns, strict=True):
            words = tuple(self.vocabulary.decode(ids[:length]))
            sentences[row].append(Utterance(detokenize(words), words, tuple(each[:length]), score))
        return sentences

    def predict(self, batch: Batch) -> list[Prediction]:
        settings = self.decoding.describe()
        return [
            as_prediction(example.id, example.image_id, sentences, settings)
            for example, sentences in zip(batch.examples, self.speak(self.see(batch), self.decoding), strict=True)
        ]

    def score(self, predictions: Mapping[Id, Prediction], examples: Mapping[Id, Example]) -> dict[str, Any]:
        """BLEU-1..4, ROUGE-L and CIDEr-D of the generated captions, as strings, against the raw references."""
        key = tuple(examples)
        if key not in self._scorers:  # references are tokenized and counted once for a split
            self._scorers[key] = CaptionScorer({id: example.captions for id, example in examples.items()})
        scores = self._scorers[key].score({id: prediction.text for id, prediction in predictions.items()})
        return {"scores": scores.with_intervals(), "settings": {**scores.settings, **self.decoding.describe()}}


def as_prediction(id: Id, image_id: Id, sentences: Sequence[Utterance], settings: Mapping[str, Any]) -> Prediction:
    """The record of sentences about one image, the best of which comes first."""
    best, *others = sentences
    alternatives = tuple({"text": each.text, "score": each.score} for each in others)
    return Prediction(id, image_id, best.text, best.tokens, best.log_probs, best.score, alternatives, settings)

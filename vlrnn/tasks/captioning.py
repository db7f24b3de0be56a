"""Captioning: from images to sentences.

The encoder maps the image to a context; the decoder prepares its memory and initial state; the search calls the
decoder's step word by word; the vocabulary maps ids to words (the last three in vlrnn.generation.generate).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlrnn.data.batches import Batch
from vlrnn.data.records import AttentionMaps, Example, Id, Prediction
from vlrnn.generation.generate import (
    GeneratedSequence,
    TokenDistributions,
    as_prediction,
    attention_maps,
    distributions,
    generate,
    generate_with_log_probs,
)
from vlrnn.generation.search import GenerationConfig
from vlrnn.metrics import CaptionScorer
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.encoders.base import Context, Encoder
from vlrnn.nn.word_vectors import load_word_vectors
from vlrnn.text.vocabulary import Vocabulary
from vlrnn.training.module import Task
from vlrnn.training.objectives.base import CrossEntropy, Objective, TeacherForced
from vlrnn.training.optimization import Optimization


class Captioner(Task):
    """An encoder and a recurrent decoder, trained on captions with teacher forcing.

    Args:
        vocabulary: the words of captions.
        encoder: maps images to region features.
        decoder: generates captions; built here, for this vocabulary and encoder.
        generation: search and sampling of captions in validation and test.
        objective: what training minimises; null: `CrossEntropy`.
        optimization: optimiser and learning rate schedule.
        embedding_weights: of the decoder's words: a text file of word vectors, or `glove.6B.50d` of an installed
            package (see `vlrnn.nn.word_vectors`). null: random.

    Raises:
        UserError: the word vectors do not fit, or the decoder has no `embedding`.
    """

    accepts = frozenset({"image"})
    command = "caption"
    summary = "captions"
    monitor = "CIDEr"
    decoder: Decoder

    def __init__(
        self,
        vocabulary: Vocabulary,
        encoder: Encoder,
        decoder: Decoder,
        generation: GenerationConfig = GenerationConfig(),  # noqa: B008 (frozen, as the last)
        objective: Objective | None = None,
        optimization: Optimization = Optimization(),  # noqa: B008
        embedding_weights: str | None = None,
    ) -> None:
        super().__init__(encoder, optimization)
        self.vocabulary = vocabulary
        self.decoder = decoder.build(len(vocabulary), encoder.feature_dim)
        if embedding_weights is not None:
            load_word_vectors(getattr(decoder, "embedding", None), vocabulary.words, embedding_weights)
        # A checkpoint has the vectors, and must not need the file that they came from.
        self.arguments |= {"embedding_weights": None}
        self.generation = generation
        self.set_objective(objective or CrossEntropy())
        self._scorers: dict[tuple[Id, ...], CaptionScorer] = {}

    def teacher_forced(self, batch: Batch) -> list[TeacherForced]:
        """The decoder's output for the captions of a batch, and their words as targets."""
        memory = self.decoder.prepare(self.encode_images(batch))
        output = self.decoder(batch.tokens[:, :-1], memory, batch.image_index)
        return [TeacherForced(self.decoder, output, batch.tokens[:, 1:])]

    def decode(
        self, context: Context, generation: GenerationConfig, generator: torch.Generator | None = None
    ) -> list[list[GeneratedSequence]]:
        """Captions of B images, best first: B lists of up to `generation.num_return_sequences`."""
        return generate(self.decoder, self.vocabulary, context, generation, generator=generator)

    def sample(self, batch: Batch, settings: GenerationConfig) -> tuple[list[list[GeneratedSequence]], Tensor]:
        """Captions of the B images of a batch, R of each, and their log probabilities [B, R], which keep their graph
        where gradients are enabled."""
        return generate_with_log_probs(self.decoder, self.vocabulary, self.encode_images(batch), settings)

    def predict(
        self, batch: Batch, generation: GenerationConfig | None = None, generator: torch.Generator | None = None
    ) -> list[Prediction]:
        """Captions of a batch's images.

        Args:
            batch: B examples.
            generation: search and sampling; by default the model's own.
            generator: of random numbers, for sampling.
        """
        generation = generation or self.generation
        settings = generation.describe()
        found = self.decode(self.encode_images(batch), generation, generator)
        return [
            as_prediction(example.id, example.image_id, sentences, settings)
            for example, sentences in zip(batch.examples, found, strict=True)
        ]

    def distributions(self, batch: Batch, predictions: Sequence[Prediction]) -> TokenDistributions:
        return distributions(self.decoder, self.vocabulary, self.encode_images(batch), predictions)

    def attention_maps(self, batch: Batch, predictions: Sequence[Prediction]) -> list[AttentionMaps]:
        return attention_maps(self.decoder, self.vocabulary, self.encode_images(batch), predictions)

    def score(self, predictions: Mapping[Id, Prediction], examples: Mapping[Id, Example]) -> dict[str, Any]:
        """BLEU-1..4, ROUGE-L and CIDEr-D of the generated captions, as strings, against the raw references; no
        scores for a split without captions."""
        if not any(example.captions for example in examples.values()):
            settings = {"n": len(examples), "not_computed": "the split has no captions", **self.generation.describe()}
            return {"scores": {}, "settings": settings}
        key = tuple(examples)
        if key not in self._scorers:  # references are tokenized and counted once for a split
            references = {id: example.captions for id, example in examples.items()}
            self._scorers[key] = CaptionScorer(references, tokenizer=self.vocabulary.tokenizer)
        scores = self._scorers[key].score({id: prediction.text for id, prediction in predictions.items()})
        settings = {**scores.settings, **self.generation.describe()}
        return {"scores": scores.with_intervals(), "settings": settings, "items": scores.items()}

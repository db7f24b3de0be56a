"""Question answering in words: an image and a question go in, and the captioner's decoder speaks the answer.

How an answer comes about: the encoder turns the image into a context; the recurrence turns the question into a vector;
the question looks at the image, and what was asked and seen enters the decoder's context; from there on an answer is a
caption (vlrnn.tasks.captioning).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from vlrnn.data.batches import Batch
from vlrnn.data.records import AttentionMaps, Example, Id, Prediction
from vlrnn.generation.answer_decoding import AnswerDecoding, OpenAnswers, encode_answer
from vlrnn.generation.generate import Items, TokenDistributions, as_prediction, attention_maps, distributions
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.decoders.ensemble import Ensemble
from vlrnn.nn.encoders.base import Context, Encoder
from vlrnn.nn.fusion import Fusion
from vlrnn.nn.question_encoder import QuestionEncoder
from vlrnn.nn.question_image import QuestionImageEncoder, VisualPooling
from vlrnn.tasks.vqa import VQATask, copies
from vlrnn.text.answer_vocabulary import AnswerVocabulary, majority
from vlrnn.text.vocabulary import BOS, PAD, Vocabulary
from vlrnn.text.vqa_normalization import canonical_answer
from vlrnn.training.objectives.base import Loss
from vlrnn.training.objectives.cross_entropy import CrossEntropy
from vlrnn.training.optimization import Optimization


class _Member(nn.Module):
    """One model of several that are trained together."""

    def __init__(self, understanding: QuestionImageEncoder, decoder: Decoder) -> None:
        super().__init__()
        self.understanding = understanding
        self.decoder = decoder

    def forward(self, batch: Batch, context: Context) -> Tensor:
        """The questions of a batch, fused with the images of a context [B, ...]: [M, C]."""
        return self.understanding(batch.tokens, context, batch.image_index).fused


class GenerativeVQA(VQATask):
    """An encoder, a question encoder, and a recurrent decoder, trained word by word on annotators' answers.

    Args:
        vocabulary: the words of questions and answers.
        answers: the closed set, for `answering` within it.
        encoder: sees.
        question_encoder: reads.
        image_pooling: what of the image a question sees.
        fusion: brings the two together.
        decoder: speaks; it is built here.
        answer_decoding: how an answer is found in validation and test; null: freely.
        sample_annotator: train on an annotator's answer, drawn anew each time; otherwise on that of most annotators.
        objective: what training minimises.
        num_members: how many, alike but for the random numbers that they begin with, are trained side by side and speak
            together (see `vlrnn.nn.decoders.ensemble`).
        max_answer_length: words of an answer that are learnt; behind a cut no end is taught.
        optimization: how.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        answers: AnswerVocabulary,
        encoder: Encoder,
        question_encoder: QuestionEncoder,
        image_pooling: VisualPooling,
        fusion: Fusion,
        decoder: Decoder,
        answer_decoding: AnswerDecoding | None = None,
        sample_annotator: bool = True,
        objective: CrossEntropy = CrossEntropy(),  # noqa: B008 (frozen, as the last)
        num_members: int = 1,
        max_answer_length: int = 500,
        optimization: Optimization = Optimization(),  # noqa: B008
    ) -> None:
        super().__init__(vocabulary, answers, encoder, optimization)
        parts = (question_encoder, image_pooling, fusion, decoder)
        self.members = nn.ModuleList()
        for reader, image_pooling, fusion, decoder in copies(parts, num_members):
            understanding = QuestionImageEncoder(reader, image_pooling, fusion, vocabulary.words, encoder.feature_dim)
            self.members.append(
                _Member(understanding, decoder.build(len(vocabulary), encoder.feature_dim, fusion.output_dim))
            )
        self.answer_decoding = answer_decoding or OpenAnswers()
        self.sample_annotator = sample_annotator
        self.word_loss = objective
        self.max_answer_length = max_answer_length

    @property
    def decoder(self) -> Ensemble:
        """All members as one."""
        return Ensemble([member.decoder for member in self._members()])

    def items(self, batch: Batch) -> tuple[Context, Items]:
        """The context of the images of a batch; and its questions, their conditions [M, members * C] being the fused
        questions of all members concatenated."""
        context = self.encode_images(batch)
        fused = torch.cat([member(batch, context) for member in self._members()], -1)
        return context, Items(batch.image_index, fused)

    def loss(self, batch: Batch) -> Loss:
        """The mean of the members' losses."""
        tokens = torch.nn.utils.rnn.pad_sequence(
            [self._answer(example) for example in batch.examples], batch_first=True, padding_value=PAD
        )
        context = self.encode_images(batch)
        losses = []
        for member in self._members():
            condition = member(batch, context)
            memory = member.decoder.prepare(context)
            output = member.decoder(tokens[:, :-1], memory, batch.image_index, condition)
            losses.append(self.word_loss(member.decoder, output, tokens[:, 1:]))
        return Loss(torch.stack([each.total for each in losses]).mean(), losses[0].count)

    def _members(self) -> list[_Member]:
        return cast(list[_Member], list(self.members))

    def _answer(self, example: Example) -> Tensor:
        """An annotator's answer as ids; nothing where there is none."""
        if not example.answers:
            return torch.tensor([BOS, PAD])
        if self.training and self.sample_annotator:
            answer = canonical_answer(example.answers[int(torch.randint(len(example.answers), ()))])
        else:
            answer = majority(list(map(canonical_answer, example.answers)))
        ids = encode_answer(self.vocabulary, answer)
        return torch.tensor([BOS, *(ids if len(ids) <= self.max_answer_length + 1 else ids[: self.max_answer_length])])

    def predict(self, batch: Batch) -> list[Prediction]:
        context, items = self.items(batch)
        found = self.answer_decoding(self.decoder, self.vocabulary, self.answers, context, items)
        # Of an answer its probability is told, as by the classifier, whatever the search ranked it by.
        found = [[each._replace(score=math.exp(sum(each.log_probs))) for each in answers] for answers in found]
        settings = {**self.answer_decoding.describe(), "score": "sequence probability"}
        return [
            as_prediction(example.id, example.image_id, answers, settings)
            for example, answers in zip(batch.examples, found, strict=True)
        ]

    def distributions(self, batch: Batch, said: Sequence[Prediction]) -> TokenDistributions:
        context, items = self.items(batch)
        return distributions(self.decoder, self.vocabulary, context, said, items)

    def attention_maps(self, batch: Batch, said: Sequence[Prediction]) -> list[AttentionMaps]:
        context, items = self.items(batch)
        return attention_maps(self.decoder, self.vocabulary, context, said, items)

    def score(self, predictions: Mapping[Id, Prediction], examples: Mapping[Id, Example]) -> dict[str, Any]:
        result = super().score(predictions, examples)
        return {**result, "settings": {**result["settings"], **self.answer_decoding.describe()}}

"""Generative VQA: a captioning decoder, conditioned on the fused question, generates the answer.

The encoder maps the image to a context, the question encoder the question to a vector; visual pooling under the
question gives an image vector; their fusion is the decoder's condition. Decoding is that of captions
(vlrnn.tasks.captioning).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
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
from vlrnn.text.vocabulary import BOS, PAD, AnswerVocabulary, Vocabulary, majority
from vlrnn.text.vqa_normalization import canonical_answer
from vlrnn.training.objectives.base import CrossEntropy, Objective, TeacherForced
from vlrnn.training.optimization import Optimization


class _Member(nn.Module):
    """One model of an ensemble."""

    def __init__(self, joint_encoder: QuestionImageEncoder, decoder: Decoder) -> None:
        super().__init__()
        self.joint_encoder = joint_encoder
        self.decoder = decoder

    def forward(self, batch: Batch, context: Context) -> Tensor:
        """The questions of a batch, fused with the images of a context [B, ...]: [M, C]."""
        return self.joint_encoder(batch.tokens, context, batch.image_index).fused


class GenerativeVQA(VQATask):
    """An encoder, a question encoder, and a recurrent decoder, trained on annotators' answers with teacher forcing.

    Args:
        vocabulary: the words of questions and answers.
        answers: the closed set, for an `answer_decoding` within it.
        encoder: maps images to region features.
        question_encoder: maps a question to a vector.
        image_pooling: pools the regions to an image vector, under the question.
        fusion: fuses question and image vector.
        decoder: generates answers; built here.
        answer_decoding: search for an answer in validation and test; null: unconstrained (`OpenAnswers`).
        sample_annotator: train on the answer of an annotator, drawn anew each time; else on the majority answer.
        objective: what training minimises; null: `CrossEntropy`.
        num_members: number of models that are trained in parallel and differ in their random initialisation alone;
            answers are decoded from their ensemble (see `vlrnn.nn.decoders.ensemble`).
        max_answer_length: words of an answer that are trained on; an answer that is cut has no end token.
        optimization: optimiser and learning rate schedule.
    """

    data_arguments = ("vocabulary", "answers", "max_answer_length")

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
        objective: Objective | None = None,
        num_members: int = 1,
        max_answer_length: int = 500,
        optimization: Optimization = Optimization(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(vocabulary, answers, encoder, optimization)
        parts = (question_encoder, image_pooling, fusion, decoder)
        self.members = nn.ModuleList()
        for question_encoder, image_pooling, fusion, decoder in copies(parts, num_members):
            joint_encoder = QuestionImageEncoder(
                question_encoder, image_pooling, fusion, vocabulary.words, encoder.feature_dim
            )
            self.members.append(
                _Member(joint_encoder, decoder.build(len(vocabulary), encoder.feature_dim, fusion.output_dim))
            )
        self.answer_decoding = answer_decoding or OpenAnswers()
        self.sample_annotator = sample_annotator
        self.set_objective(objective or CrossEntropy())
        self.max_answer_length = max_answer_length

    @property
    def decoder(self) -> Ensemble:
        """The ensemble of all members."""
        return Ensemble([member.decoder for member in self._members()])

    def items(self, batch: Batch) -> tuple[Context, Items]:
        """The context of the images of a batch, and its questions as items; their conditions [M, members * C] are the
        fused questions of all members, concatenated."""
        context = self.encode_images(batch)
        fused = torch.cat([member(batch, context) for member in self._members()], -1)
        return context, Items(batch.image_index, fused)

    def teacher_forced(self, batch: Batch) -> Iterator[TeacherForced]:
        """Each member's output for an answer to each question of a batch, and the answer's words as targets."""
        tokens = torch.nn.utils.rnn.pad_sequence(
            [self._answer(example) for example in batch.examples], batch_first=True, padding_value=PAD
        )
        context = self.encode_images(batch)
        for member in self._members():
            condition = member(batch, context)
            memory = member.decoder.prepare(context)
            output = member.decoder(tokens[:, :-1], memory, batch.image_index, condition)
            yield TeacherForced(member.decoder, output, tokens[:, 1:])

    def _members(self) -> list[_Member]:
        return cast(list[_Member], list(self.members))

    def _answer(self, example: Example) -> Tensor:
        """An annotator's answer as ids; no words if a question has no answers."""
        if not example.answers:
            return torch.tensor([BOS, PAD])
        if self.training and self.sample_annotator:
            answer = canonical_answer(example.answers[int(torch.randint(len(example.answers), ()))])
        else:
            answer = majority(list(map(canonical_answer, example.answers)))
        ids = encode_answer(self.vocabulary, answer)
        return torch.tensor([BOS, *(ids if len(ids) <= self.max_answer_length + 1 else ids[: self.max_answer_length])])

    def predict(self, batch: Batch, top_n: int | None = None) -> list[Prediction]:
        """Answers to the questions of a batch, as many as `answer_decoding` gives, and `top_n` at most."""
        context, items = self.items(batch)
        found = self.answer_decoding(self.decoder, self.vocabulary, self.answers, context, items)
        # The score of an answer is its probability, as of the classifier, whatever the search ranked it by.
        found = [[each._replace(score=math.exp(sum(each.log_probs))) for each in answers[:top_n]] for answers in found]
        settings = {**self.answer_decoding.describe(), "score": "sequence probability"}
        return [
            as_prediction(example.id, example.image_id, answers, settings)
            for example, answers in zip(batch.examples, found, strict=True)
        ]

    def distributions(self, batch: Batch, predictions: Sequence[Prediction]) -> TokenDistributions:
        context, items = self.items(batch)
        return distributions(self.decoder, self.vocabulary, context, predictions, items)

    def attention_maps(self, batch: Batch, predictions: Sequence[Prediction]) -> list[AttentionMaps]:
        context, items = self.items(batch)
        return attention_maps(self.decoder, self.vocabulary, context, predictions, items)

    def score(self, predictions: Mapping[Id, Prediction], examples: Mapping[Id, Example]) -> dict[str, Any]:
        result = super().score(predictions, examples)
        return {**result, "settings": {**result["settings"], **self.answer_decoding.describe()}}

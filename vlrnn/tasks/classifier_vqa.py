"""VQA as classification over a closed set of answers.

The encoder maps the image to a context, the question encoder the question to a vector; visual pooling under the
question gives an image vector; both vectors are fused, and a linear layer scores every answer.
"""

from typing import cast

import torch
from torch import Tensor, nn

from vlrnn.data.batches import Batch
from vlrnn.data.records import Example
from vlrnn.nn.encoders.base import Context, Encoder
from vlrnn.nn.fusion import Fusion
from vlrnn.nn.question_encoder import QuestionEncoder
from vlrnn.nn.question_image import QuestionImageEncoder, VisualPooling
from vlrnn.tasks.vqa import AnswerSelection, PriorTable, copies
from vlrnn.text.answer_vocabulary import AnswerPrior, AnswerVocabulary, soft_score
from vlrnn.text.vocabulary import Vocabulary
from vlrnn.text.vqa_normalization import canonical_answer
from vlrnn.training.objectives.answers import LINKS, AnswerLogits, AnswerObjective, SoftScores, Targets
from vlrnn.training.objectives.base import Loss
from vlrnn.training.optimization import Optimization


class _Member(nn.Module):
    """A classifier of A answers, and its objective, built here."""

    def __init__(self, joint_encoder: QuestionImageEncoder, answers: int, loss: AnswerObjective) -> None:
        super().__init__()
        self.joint_encoder = joint_encoder
        self.score = nn.Linear(joint_encoder.output_dim, answers)
        self.loss = loss.build(joint_encoder.question_dim, joint_encoder.output_dim, answers)

    def forward(self, tokens: Tensor, context: Context, image_index: Tensor) -> AnswerLogits:
        """Questions [M, T], row m about image `image_index[m]` of the context's B."""
        encoded = self.joint_encoder(tokens, context, image_index)
        return AnswerLogits(self.score(encoded.fused).float(), encoded.question, encoded.fused)


class ClassifierVQA(AnswerSelection):
    """An encoder, a question encoder, and a classifier over their fusion.

    Args:
        vocabulary: the words of questions.
        answers: the closed set of answers.
        encoder: maps images to region features.
        question_encoder: maps a question to a vector.
        image_pooling: pools the regions to an image vector, under the question.
        fusion: fuses question and image vector.
        objective: the training loss; built here.
        prior: frequencies of the right answers in training, for `vlrnn.training.objectives.debiasing`.
        num_members: number of classifiers that are trained in parallel and differ in their random initialisation alone;
            their probabilities are averaged (a deep ensemble, Lakshminarayanan, Pritzel, Blundell 2017, section 2.4).
        optimization: optimiser and learning rate schedule.
    """

    data_arguments = ("vocabulary", "answers", "prior")

    def __init__(
        self,
        vocabulary: Vocabulary,
        answers: AnswerVocabulary,
        encoder: Encoder,
        question_encoder: QuestionEncoder,
        image_pooling: VisualPooling,
        fusion: Fusion,
        objective: AnswerObjective | None = None,
        prior: AnswerPrior | None = None,
        num_members: int = 1,
        optimization: Optimization = Optimization(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(vocabulary, answers, encoder, optimization)
        parts = (question_encoder, image_pooling, fusion, objective or SoftScores())
        self.members = nn.ModuleList()
        for question_encoder, image_pooling, fusion, objective in copies(parts, num_members):
            joint_encoder = QuestionImageEncoder(
                question_encoder, image_pooling, fusion, vocabulary.words, encoder.feature_dim
            )
            self.members.append(_Member(joint_encoder, len(answers), objective))
        self.prior = None if prior is None else PriorTable(prior, answers)
        # Only training uses the prior, and reads it from its data.
        self.arguments |= {"prior": None}
        self._cached_targets: dict[tuple[str, ...], list[tuple[int, int, float]]] = {}

    def answer_logits(self, batch: Batch) -> list[AnswerLogits]:
        """The logits of each member for the questions of a batch."""
        context = self.encode_images(batch)
        return [member(batch.tokens, context, batch.image_index) for member in self._members()]

    def loss(self, batch: Batch) -> Loss:
        """The mean of the members' losses."""
        outputs = self.answer_logits(batch)
        targets = self._targets(batch.examples)
        losses = [member.loss(output, targets) for member, output in zip(self._members(), outputs, strict=True)]
        return Loss(torch.stack([each.total for each in losses]).mean(), losses[0].count)

    def probabilities(self, batch: Batch) -> Tensor:
        shares = [
            member.loss.probabilities(output.logits)
            for member, output in zip(self._members(), self.answer_logits(batch), strict=True)
        ]
        return torch.stack(shares).mean(0)

    @property
    def score_name(self) -> str:
        return LINKS[self._members()[0].loss.link]

    def _members(self) -> list[_Member]:
        return cast(list[_Member], list(self.members))

    def _targets(self, examples: tuple[Example, ...]) -> Targets:
        counts, values = torch.zeros(2, len(examples), len(self.answers)).unbind()
        for row, example in enumerate(examples):
            for id, count, value in self._targets_of(example.answers):
                counts[row, id], values[row, id] = count, value
        prior = None if self.prior is None else self.prior.of([each.question_type for each in examples])
        return Targets(counts, values, prior)

    def _targets_of(self, answers: tuple[str, ...]) -> list[tuple[int, int, float]]:
        """Id, count and soft score of each answer of a question; cached, as questions recur in every epoch."""
        if answers not in self._cached_targets:
            counts = self.answers.counts(map(canonical_answer, answers))
            self._cached_targets[answers] = [
                (id, count, soft_score(count, len(answers))) for id, count in counts.items()
            ]
        return self._cached_targets[answers]

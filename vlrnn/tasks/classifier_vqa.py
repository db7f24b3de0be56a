"""VQA as classification over a closed set of answers.

The encoder maps the image to a context, the question encoder the question to a vector; visual pooling under the
question gives an image vector; both vectors are fused, and a linear layer scores every answer.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from vlrnn.data.batches import Batch
from vlrnn.nn.encoders.base import Context, Encoder
from vlrnn.nn.fusion import Fusion
from vlrnn.nn.question_encoder import QuestionEncoder
from vlrnn.nn.question_image import QuestionImageEncoder, VisualPooling
from vlrnn.tasks.vqa import AnswerSelection, PriorTable, copies
from vlrnn.text.vocabulary import AnswerPrior, AnswerVocabulary, Vocabulary, soft_score
from vlrnn.text.vqa_normalization import canonical_answer
from vlrnn.training.objectives.answers import (
    LINKS,
    AnswerLogits,
    AnswerObjective,
    Link,
    SoftScores,
    Targets,
    apply_link,
)
from vlrnn.training.optimization import Optimization


class _Member(nn.Module):
    """A classifier of A answers, one of an ensemble."""

    def __init__(self, joint_encoder: QuestionImageEncoder, answers: int, number: int) -> None:
        super().__init__()
        self.joint_encoder = joint_encoder
        self.score = nn.Linear(joint_encoder.output_dim, answers)
        self.number = number

    def forward(self, tokens: Tensor, context: Context, image_index: Tensor) -> AnswerLogits:
        """Questions [M, T], row m about image `image_index[m]` of the context's B."""
        encoded = self.joint_encoder(tokens, context, image_index)
        return AnswerLogits(self.score(encoded.fused).float(), encoded.question, encoded.fused, self.number)


class ClassifierVQA(AnswerSelection):
    """An encoder, a question encoder, and a classifier over their fusion.

    Args:
        vocabulary: the words of questions.
        answers: the closed set of answers.
        encoder: maps images to region features.
        question_encoder: maps a question to a vector.
        image_pooling: pools the regions to an image vector, under the question.
        fusion: fuses question and image vector.
        objective: what training minimises; built here; null: `SoftScores`.
        prior: frequencies of the right answers in training, for `vlrnn.training.objectives.debiasing`.
        link: what turns logits into probabilities; null: the objective's.
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
        link: Link | None = None,
        num_members: int = 1,
        optimization: Optimization = Optimization(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(vocabulary, answers, encoder, optimization)
        parts = (question_encoder, image_pooling, fusion)
        self.members = nn.ModuleList()
        for number, (question_encoder, image_pooling, fusion) in enumerate(copies(parts, num_members)):
            joint_encoder = QuestionImageEncoder(
                question_encoder, image_pooling, fusion, vocabulary.words, encoder.feature_dim
            )
            self.members.append(_Member(joint_encoder, len(answers), number))
        objective = objective or SoftScores()
        objective.build(joint_encoder.question_dim, joint_encoder.output_dim, len(answers), num_members)
        self.set_objective(objective)
        self.link = link or objective.link
        self.prior = None if prior is None else PriorTable(prior, answers)
        # Only training uses the prior, and reads it from its data.
        self.arguments |= {"prior": None, "link": self.link}
        self._cached_targets: dict[tuple[str, ...], list[tuple[int, int, float]]] = {}

    def answer_logits(self, batch: Batch) -> list[AnswerLogits]:
        """The logits of each member for the questions of a batch."""
        context = self.encode_images(batch)
        return [member(batch.tokens, context, batch.image_index) for member in self._members()]

    def answer_targets(self, batch: Batch) -> Targets:
        """The targets of the questions of a batch."""
        counts, values = torch.zeros(2, len(batch.examples), len(self.answers)).unbind()
        for row, example in enumerate(batch.examples):
            for id, count, value in self._targets_of(example.answers):
                counts[row, id], values[row, id] = count, value
        prior = None if self.prior is None else self.prior.of([each.question_type for each in batch.examples])
        return Targets(counts, values, prior)

    def probabilities(self, batch: Batch) -> Tensor:
        return torch.stack([apply_link(self.link, output.logits) for output in self.answer_logits(batch)]).mean(0)

    @property
    def score_name(self) -> str:
        return LINKS[self.link]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As in `Task`; what is validated or tested keeps the link that it was trained with."""
        super().on_load_checkpoint(checkpoint)
        if self.trainer.state.fn != "fit":
            self.link = checkpoint["vlrnn"]["task"]["arguments"]["link"]

    def _members(self) -> list[_Member]:
        return cast(list[_Member], list(self.members))

    def _targets_of(self, answers: tuple[str, ...]) -> list[tuple[int, int, float]]:
        """Id, count and soft score of each answer of a question; cached, as questions recur in every epoch."""
        if answers not in self._cached_targets:
            counts = self.answers.counts(map(canonical_answer, answers))
            self._cached_targets[answers] = [
                (id, count, soft_score(count, len(answers))) for id, count in counts.items()
            ]
        return self._cached_targets[answers]

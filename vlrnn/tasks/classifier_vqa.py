"""Question answering as choice: an image and a question go in, one of a closed set of answers comes out.

How an answer comes about: the encoder turns the image into a context; the recurrence turns the question into a vector;
the question looks at the image; what was asked and what was seen are fused, and score every answer.
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
    """A classifier of A answers, and its loss, which is built here."""

    def __init__(self, understanding: QuestionImageEncoder, answers: int, loss: AnswerObjective) -> None:
        super().__init__()
        self.understanding = understanding
        self.score = nn.Linear(understanding.output_dim, answers)
        self.loss = loss.build(understanding.question_dim, understanding.output_dim, answers)

    def forward(self, tokens: Tensor, context: Context, image_index: Tensor) -> AnswerLogits:
        """Questions [M, T], row m about image `image_index[m]` of the context's B."""
        understood = self.understanding(tokens, context, image_index)
        return AnswerLogits(self.score(understood.fused).float(), understood.question, understood.fused)


class ClassifierVQA(AnswerSelection):
    """An encoder, a question encoder, and a classifier over what both say.

    Args:
        vocabulary: the words of questions.
        answers: what is chosen from.
        encoder: sees.
        question_encoder: reads.
        image_pooling: what of the image a question sees.
        fusion: brings the two together.
        objective: what training minimises; it is built here.
        prior: how often which answer is right in training, for losses that keep it from being learnt (see
            `vlrnn.training.objectives.debiasing`).
        num_members: how many classifiers, alike but for the random numbers that they begin with, are trained side by
            side; their probabilities are averaged (a deep ensemble, Lakshminarayanan, Pritzel, Blundell 2017, section
            2.4).
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
        objective: AnswerObjective | None = None,
        prior: AnswerPrior | None = None,
        num_members: int = 1,
        optimization: Optimization = Optimization(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(vocabulary, answers, encoder, optimization)
        parts = (question_encoder, image_pooling, fusion, objective or SoftScores())
        self.members = nn.ModuleList()
        for reader, image_pooling, fusion, objective in copies(parts, num_members):
            understanding = QuestionImageEncoder(reader, image_pooling, fusion, vocabulary.words, encoder.feature_dim)
            self.members.append(_Member(understanding, len(answers), objective))
        self.prior = None if prior is None else PriorTable(prior, answers)
        # Only training asks for the prior, and it finds it in its data.
        self.arguments |= {"prior": None}
        self._known_targets: dict[tuple[str, ...], list[tuple[int, int, float]]] = {}

    def guess(self, batch: Batch) -> list[AnswerLogits]:
        """What each member makes of the questions of a batch."""
        context = self.encode_images(batch)
        return [member(batch.tokens, context, batch.image_index) for member in self._members()]

    def loss(self, batch: Batch) -> Loss:
        """The mean of the members' losses."""
        guesses = self.guess(batch)
        targets = self._targets(batch.examples)
        losses = [member.loss(guess, targets) for member, guess in zip(self._members(), guesses, strict=True)]
        return Loss(torch.stack([each.total for each in losses]).mean(), losses[0].count)

    def probabilities(self, batch: Batch) -> Tensor:
        shares = [
            member.loss.probabilities(guess.logits)
            for member, guess in zip(self._members(), self.guess(batch), strict=True)
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
        """The id, count and worth of each answer of a question; questions come again in every epoch."""
        if answers not in self._known_targets:
            counts = self.answers.counts(map(canonical_answer, answers))
            self._known_targets[answers] = [
                (id, count, soft_score(count, len(answers))) for id, count in counts.items()
            ]
        return self._known_targets[answers]

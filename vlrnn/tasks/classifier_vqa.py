"""Question answering as choice: an image and a question go in, one of a closed set of answers comes out.

How an answer comes about: the encoder turns the image into a context; the recurrence turns the question into a vector;
the question looks at the image; what was asked and what was seen are fused, and score every answer.
"""

from functools import cache

import torch
from torch import Tensor, nn

from vlrnn.data.batches import Batch
from vlrnn.nn.encoders import Encoder
from vlrnn.nn.fusion import Fusion
from vlrnn.nn.glimpses import Look
from vlrnn.nn.questions import Reader
from vlrnn.nn.tree import map_tree
from vlrnn.records import Example, Prediction
from vlrnn.tasks.answer_losses import AnswerLoss, Guess, SoftAnswers, Targets
from vlrnn.tasks.objectives import Loss
from vlrnn.tasks.optimization import Optimization
from vlrnn.tasks.prior_vqa import Shares
from vlrnn.tasks.question_answering import TrainedQuestionAnswering, choose
from vlrnn.text.answer_set import AnswerPrior, AnswerSet, worth
from vlrnn.text.answers import canonical
from vlrnn.text.vocabulary import Vocabulary


class ClassifierVQA(TrainedQuestionAnswering):
    """An encoder, a question encoder, and a classifier over what both say.

    Args:
        vocabulary: the words of questions.
        answers: what is chosen from.
        encoder: sees.
        question_encoder: reads.
        look: what of the image a question sees.
        fusion: brings the two together.
        loss: what training minimises; it is built here.
        prior: how often which answer is right in training, for losses that keep it from being learnt (see
            `vlrnn.tasks.debiasing`).
        optimization: how.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        answers: AnswerSet,
        encoder: Encoder,
        question_encoder: Reader,
        look: Look,
        fusion: Fusion,
        loss: AnswerLoss | None = None,
        prior: AnswerPrior | None = None,
        optimization: Optimization = Optimization(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(vocabulary, answers, encoder, question_encoder, look, fusion, optimization)
        self.score_answers = nn.Linear(fusion.width, len(answers))
        self.answer_loss = (loss or SoftAnswers()).build(question_encoder.width, fusion.width, len(answers))
        self.prior = None if prior is None else Shares(prior, answers)
        # Only training asks for the prior, and it finds it in its data.
        self.arguments |= {"prior": None}
        self._targets_of = cache(self._targets_of_answers)

    def guess(self, batch: Batch) -> Guess:
        """The scores of all answers to the questions of a batch, and what they come from."""
        understood = self.understand(batch)
        return Guess(self.score_answers(understood.fused).float(), understood.question, understood.fused)

    def loss(self, batch: Batch) -> Loss:
        guess = self.guess(batch)
        return self.answer_loss(guess, self._targets(batch.examples, guess.logits))

    def predict(self, batch: Batch) -> list[Prediction]:
        probabilities = self.answer_loss.probabilities(self.guess(batch).logits)
        return choose(batch.examples, probabilities, self.answers)

    def _targets(self, examples: tuple[Example, ...], logits: Tensor) -> Targets:
        counts, values = torch.zeros(2, *logits.shape).unbind()
        for row, example in enumerate(examples):
            for id, count, value in self._targets_of(example.answers):
                counts[row, id], values[row, id] = count, value
        prior = None if self.prior is None else self.prior.of([each.question_type for each in examples])
        targets = Targets(counts, values, prior)
        return map_tree(lambda each: each.to(logits.device), targets)

    def _targets_of_answers(self, answers: tuple[str, ...]) -> list[tuple[int, int, float]]:
        counts = self.answers.counts(map(canonical, answers))
        return [(id, count, worth(count, len(answers))) for id, count in counts.items()]

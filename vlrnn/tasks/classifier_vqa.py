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
from vlrnn.nn.questions import QuestionEncoder
from vlrnn.records import Example, Prediction
from vlrnn.tasks.answer_losses import AnswerLoss, SoftAnswers, Targets
from vlrnn.tasks.objectives import Loss
from vlrnn.tasks.optimization import Optimization
from vlrnn.tasks.question_answering import QuestionAnswering
from vlrnn.text.answer_set import AnswerSet, worth
from vlrnn.text.answers import canonical
from vlrnn.text.vocabulary import Vocabulary

_TOLD = 5
"""How many answers a prediction names, the likeliest."""


class ClassifierVQA(QuestionAnswering):
    """An encoder, a question encoder, and a classifier over what both say.

    Args:
        vocabulary: the words of questions.
        answers: what is chosen from.
        encoder: sees.
        question_encoder: reads.
        look: what of the image a question sees.
        fusion: brings the two together.
        loss: what training minimises.
        optimization: how.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        answers: AnswerSet,
        encoder: Encoder,
        question_encoder: QuestionEncoder,
        look: Look,
        fusion: Fusion,
        loss: AnswerLoss = SoftAnswers(),  # noqa: B008 (has no state, as the next)
        optimization: Optimization = Optimization(),  # noqa: B008
    ) -> None:
        super().__init__(vocabulary, answers, encoder, question_encoder, look, fusion, optimization)
        self.score_answers = nn.Linear(fusion.width, len(answers))
        self.answer_loss = loss
        self._targets_of = cache(self._targets_of_answers)

    def logits(self, batch: Batch) -> Tensor:
        """The scores [M, A] of all answers to the questions of a batch."""
        return self.score_answers(self.understand(batch).fused).float()

    def loss(self, batch: Batch) -> Loss:
        logits = self.logits(batch)
        return self.answer_loss(logits, self._targets(batch.examples, logits))

    def predict(self, batch: Batch) -> list[Prediction]:
        probabilities = self.answer_loss.probabilities(self.logits(batch))
        best = probabilities.topk(min(_TOLD, len(self.answers)))
        predictions = []
        for example, scores, ids in zip(batch.examples, best.values.tolist(), best.indices.tolist(), strict=True):
            told = [{"text": self.answers.answers[id], "score": score} for id, score in zip(ids, scores, strict=True)]
            text, score = told[0]["text"], told[0]["score"]
            predictions.append(
                Prediction(example.id, example.image_id, str(text), score=score, alternatives=tuple(told[1:]))
            )
        return predictions

    def _targets(self, examples: tuple[Example, ...], logits: Tensor) -> Targets:
        counts, values = torch.zeros(2, *logits.shape).unbind()
        for row, example in enumerate(examples):
            for id, count, value in self._targets_of(example.answers):
                counts[row, id], values[row, id] = count, value
        return Targets(counts.to(logits.device), values.to(logits.device))

    def _targets_of_answers(self, answers: tuple[str, ...]) -> list[tuple[int, int, float]]:
        counts = self.answers.counts(map(canonical, answers))
        return [(id, count, worth(count, len(answers))) for id, count in counts.items()]

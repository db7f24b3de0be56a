"""Question answering by guessing: the answer that is right most often, whatever the image shows. What a model that
looks must at least surpass."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlrnn.data.batches import Batch
from vlrnn.nn.encoders import NoImage
from vlrnn.tasks.optimization import Optimization
from vlrnn.tasks.question_answering import Choosing
from vlrnn.text.answer_set import AnswerPrior, AnswerSet
from vlrnn.text.vocabulary import Vocabulary


class Shares:
    """A prior as numbers: how often each of A answers is right for the questions of a type.

    Args:
        prior: as it was counted.
        answers: the closed set; others are left out, and a type none of whose answers is in the set is as all types.
    """

    def __init__(self, prior: AnswerPrior, answers: AnswerSet) -> None:
        self._rows = {question_type: row for row, question_type in enumerate(prior.counts, 1)}
        counts = torch.tensor(
            [[each.get(answer, 0) for answer in answers.answers] for each in (prior.overall, *prior.counts.values())],
            dtype=torch.float,
        )  # [types + 1, A]; the first row is that of all types
        counts = torch.where(counts.sum(1, keepdim=True) > 0, counts, counts[:1])
        self._table = counts / counts.sum(1, keepdim=True)

    def of(self, question_types: Sequence[str | None]) -> Tensor:
        """The shares [M, A], in 0..1, for M questions; a type that training does not have is as all types."""
        return self._table[[self._rows.get(each or "", 0) for each in question_types]]


class PriorVQA(Choosing):
    """Gives the answer that was right most often in training. It has nothing to learn: `fit` counts, and keeps the
    counts.

    Args:
        vocabulary: the words of questions, of which none is read.
        answers: the closed set.
        prior: how often which is right.
        per_type: give the answer that is right most often for the question's type, instead of for all questions. A
            question without a type, as one that `vlrnn ask` is given, is as all questions.
    """

    def __init__(self, vocabulary: Vocabulary, answers: AnswerSet, prior: AnswerPrior, per_type: bool = False) -> None:
        super().__init__(vocabulary, answers, NoImage(), Optimization())
        self.shares = Shares(prior, answers)
        self.per_type = per_type

    @property
    def score_name(self) -> str:
        return "share of training answers"

    def probabilities(self, batch: Batch) -> Tensor:
        return self.shares.of([example.question_type if self.per_type else None for example in batch.examples])

    def training_step(self, batch: Batch, batch_index: int) -> None:  # type: ignore[override]
        """Nothing is learnt from batches."""

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self._collect(batch)

    def configure_optimizers(self) -> None:
        """Nothing moves."""

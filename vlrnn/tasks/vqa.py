"""What the heads of visual question answering share: words, answers, ceiling, score; and the prior as a model."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from vlrnn.data.batches import Batch
from vlrnn.data.records import Example, Id, Prediction, open_split
from vlrnn.errors import UserError
from vlrnn.generation.generate import TokenDistributions
from vlrnn.metrics.vqa import score_answers
from vlrnn.nn.encoders.base import Encoder
from vlrnn.nn.encoders.blind import BlindEncoder
from vlrnn.progress import print_progress
from vlrnn.text.answer_vocabulary import AnswerPrior, AnswerVocabulary, soft_score
from vlrnn.text.vocabulary import Vocabulary
from vlrnn.text.vqa_normalization import canonical_answer
from vlrnn.training.module import Task
from vlrnn.training.optimization import Optimization

Parts = TypeVar("Parts")

_TOP_N = 5
"""How many answers a prediction names, the likeliest."""


class VQATask(Task):
    """A task that answers questions about images, in whatever way.

    Args:
        vocabulary: the words of questions (and of answers that are spoken).
        answers: the closed set.
        encoder: sees.
        optimization: moves the parameters.
    """

    monitor = "overall"
    summary = "answers questions (vlrnn ask)"

    def __init__(
        self, vocabulary: Vocabulary, answers: AnswerVocabulary, encoder: Encoder, optimization: Optimization
    ) -> None:
        super().__init__(encoder, optimization)
        self.vocabulary = vocabulary
        self.answers = answers

    def ceiling(self, examples: Iterable[Example]) -> float:
        """The accuracy, in percent, of always giving the best answer of the set."""
        reached = []
        for example in examples:
            counts = self.answers.counts(map(canonical_answer, example.answers))
            reached.append(max((soft_score(count, len(example.answers)) for count in counts.values()), default=0.0))
        return 100 * sum(reached) / max(1, len(reached))

    @rank_zero_only
    def on_fit_start(self) -> None:
        """Say what the set of answers allows at best."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is None:  # from Python, a Trainer may be given loaders without a data module
            return
        reached = {split: self.ceiling(open_split(data.root, split)) for split in ("train", "val")}
        if not reached["train"]:
            raise UserError(f"{data.root}: none of the {len(self.answers)} answers answers a training question")
        told = ", ".join(f"{share:.1f} % on {split}" for split, share in reached.items())
        print_progress(f"a set of {len(self.answers):,} answers; with it {told} can be reached")

    def score(self, predictions: Mapping[Id, Prediction], examples: Mapping[Id, Example]) -> dict[str, Any]:
        """VQA accuracy in percent: overall, per answer type, per question type, and notes on what it does not show;
        nothing for a split whose answers are kept from us."""
        if not any(example.answers for example in examples.values()):
            return {"scores": {}, "settings": {"n": len(examples), "not_computed": "the split has no answers"}}
        return score_answers({id: prediction.text for id, prediction in predictions.items()}, examples)


class AnswerSelection(VQATask):
    """A task that gives the likeliest of its answers."""

    @property
    def score_name(self) -> str:
        """What its `probabilities` are."""
        raise NotImplementedError

    def probabilities(self, batch: Batch) -> Tensor:
        """How likely each of A answers is right for each of a batch's M questions: [M, A], in 0..1; a row need not sum
        to one."""
        raise NotImplementedError

    def predict(self, batch: Batch) -> list[Prediction]:
        return top_answers(batch.examples, self.probabilities(batch), self.answers, {"score": self.score_name})

    def distributions(self, batch: Batch, said: Sequence[Prediction]) -> TokenDistributions:
        """Of the answers, as shares of the sum of their probabilities."""
        probabilities = self.probabilities(batch)
        # Far below zero a sigmoid is 0, which has no logarithm.
        log_shares = probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log().log_softmax(-1)[:, None]
        return TokenDistributions(log_shares, torch.ones_like(log_shares[..., 0], dtype=torch.bool))


def copies(parts: Parts, members: int) -> list[Parts]:
    """The parts of each of so many members of a model, to be built: they differ in the random numbers of that alone.

    Raises:
        UserError: there is no member.
    """
    if members < 1:
        raise UserError(f"model: num_members must be at least 1, not {members}")
    return [parts, *(deepcopy(parts) for _ in range(members - 1))]


def top_answers(
    examples: Sequence[Example], probabilities: Tensor, answers: AnswerVocabulary, settings: Mapping[str, Any]
) -> list[Prediction]:
    """The likeliest of A answers to M questions, by their probabilities [M, A], and the next best as alternatives."""
    best = probabilities.topk(min(_TOP_N, len(answers)))
    predictions = []
    for example, scores, ids in zip(examples, best.values.tolist(), best.indices.tolist(), strict=True):
        told = [(answers.answers[id], score) for id, score in zip(ids, scores, strict=True)]
        (text, score), *others = told
        alternatives = tuple({"text": text, "score": score} for text, score in others)
        predictions.append(
            Prediction(example.id, example.image_id, text, score=score, alternatives=alternatives, settings=settings)
        )
    return predictions


class PriorTable:
    """A prior as numbers: how often each of A answers is right for the questions of a type.

    Args:
        prior: as it was counted.
        answers: the closed set; others are left out, and a type none of whose answers is in the set is as all types.
    """

    def __init__(self, prior: AnswerPrior, answers: AnswerVocabulary) -> None:
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


class PriorVQA(AnswerSelection):
    """Gives the answer that was right most often in training. It has nothing to learn: `fit` counts, and keeps the
    counts.

    Args:
        vocabulary: the words of questions, of which none is read.
        answers: the closed set.
        prior: how often which is right.
        per_type: give the answer that is right most often for the question's type, instead of for all questions. A
            question without a type, as one that `vlrnn ask` is given, is as all questions.
    """

    def __init__(
        self, vocabulary: Vocabulary, answers: AnswerVocabulary, prior: AnswerPrior, per_type: bool = False
    ) -> None:
        super().__init__(vocabulary, answers, BlindEncoder(), Optimization())
        self.shares = PriorTable(prior, answers)
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

"""What the heads of visual question answering share: words, answers, ceiling, score; and the prior as a model."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from vlrnn.data.batches import Batch
from vlrnn.data.records import Example, Id, Prediction, open_split
from vlrnn.errors import UserError, check_least
from vlrnn.generation.generate import TokenDistributions
from vlrnn.metrics.vqa import compare_answers
from vlrnn.metrics.vqa_evaluation import answer_results
from vlrnn.nn.encoders.base import BlindEncoder, Encoder
from vlrnn.progress import print_progress
from vlrnn.text.vocabulary import AnswerPrior, AnswerVocabulary, Vocabulary, soft_score
from vlrnn.text.vqa_normalization import canonical_answer
from vlrnn.training.module import Task
from vlrnn.training.optimization import Optimization

Parts = TypeVar("Parts")

_TOP_N = 5
"""Answers of a prediction, the most probable ones."""


class VQATask(Task):
    """The base of tasks that answer questions about images.

    Args:
        vocabulary: the words of questions (and of generated answers).
        answers: the closed set of answers.
        encoder: maps images to region features.
        optimization: optimiser and learning rate schedule.
    """

    accepts = frozenset({"image", "question"})
    command = "ask"
    summary = "answers questions"
    monitor = "overall"
    data_arguments: tuple[str, ...] = ("vocabulary", "answers")

    def __init__(
        self, vocabulary: Vocabulary, answers: AnswerVocabulary, encoder: Encoder, optimization: Optimization
    ) -> None:
        super().__init__(encoder, optimization)
        self.vocabulary = vocabulary
        self.answers = answers

    def ceiling(self, examples: Iterable[Example]) -> float:
        """The highest accuracy, in percent, that answers of the set can reach."""
        reached = []
        for example in examples:
            counts = self.answers.counts(map(canonical_answer, example.answers))
            reached.append(max((soft_score(count, len(example.answers)) for count in counts.values()), default=0.0))
        return 100 * sum(reached) / max(1, len(reached))

    @rank_zero_only
    def on_fit_start(self) -> None:
        """Print the highest accuracy that the set of answers can reach."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is None:  # from Python, a Trainer may be given loaders without a data module
            return
        reached = {split: self.ceiling(open_split(data.root, split)) for split in ("train", "val")}
        if not reached["train"]:
            raise UserError(
                f"{data.root}: none of the {len(self.answers)} answers is the answer to a training question"
            )
        reachable = ", ".join(f"{share:.1f} % on {split}" for split, share in reached.items())
        print_progress(f"{len(self.answers):,} answers; the highest accuracy with them is {reachable}")

    def score(self, predictions: Mapping[Id, Prediction], examples: Mapping[Id, Example]) -> dict[str, Any]:
        """VQA accuracy in percent: overall, per answer type, per question type, and notes on its limits; no
        scores for a split without answers."""
        if not any(example.answers for example in examples.values()):
            return {"scores": {}, "settings": {"n": len(examples), "not_computed": "the split has no answers"}}
        texts = {id: prediction.text for id, prediction in predictions.items()}
        scores = compare_answers(texts, examples)
        return {**answer_results(scores, texts, examples), "items": scores.items()}


class AnswerSelection(VQATask):
    """A task that selects the most probable answer of its set."""

    @property
    def score_name(self) -> str:
        """The name of what `probabilities` returns."""
        raise NotImplementedError

    def probabilities(self, batch: Batch) -> Tensor:
        """Probabilities [M, A] that each of A answers to each of a batch's M questions is right, in 0..1; a row need
        not sum to one."""
        raise NotImplementedError

    def predict(self, batch: Batch, top_n: int = _TOP_N) -> list[Prediction]:
        """The most probable answers, `top_n` of them, to the questions of a batch."""
        best, predictions = self.probabilities(batch).topk(min(top_n, len(self.answers))), []
        for example, scores, ids in zip(batch.examples, best.values.tolist(), best.indices.tolist(), strict=True):
            texts = [self.answers.answers[id] for id in ids]
            ranked = [{"text": text, "score": score} for text, score in zip(texts, scores, strict=True)]
            more: dict[str, Any] = {"alternatives": tuple(ranked[1:]), "settings": {"score": self.score_name}}
            predictions.append(Prediction(example.id, example.image_id, texts[0], score=scores[0], **more))
        return predictions

    def distributions(self, batch: Batch, predictions: Sequence[Prediction]) -> TokenDistributions:
        """The distribution over answers: their probabilities, normalised to sum to one."""
        probabilities = self.probabilities(batch)
        # Far below zero a sigmoid is 0, which has no logarithm.
        log_shares = probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log().log_softmax(-1)[:, None]
        return TokenDistributions(log_shares, torch.ones_like(log_shares[..., 0], dtype=torch.bool))


def copies(parts: Parts, members: int) -> list[Parts]:
    """Copies of unbuilt parts, one for each member of an ensemble; built, they differ in their random initialisation.

    Raises:
        UserError: members is below 1.
    """
    check_least("model: num_members", members)
    return [parts, *(deepcopy(parts) for _ in range(members - 1))]


class PriorTable:
    """A prior as a table: frequencies of A answers for each question type.

    Args:
        prior: counts of answers.
        answers: the closed set; others are left out, and a type with no answer in the set gets the overall prior.
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
        """The shares [M, A], in 0..1, for M questions; a type that training lacks gets the overall prior."""
        return self._table[[self._rows.get(each or "", 0) for each in question_types]]


class PriorVQA(AnswerSelection):
    """The prior baseline: the most frequent answer of training. It has no parameters: `fit` counts answers, and the
    checkpoint holds the counts.

    Args:
        vocabulary: the words of questions; not used.
        answers: the closed set of answers.
        prior: frequencies of the right answers in training.
        per_type: predict the most frequent answer of the question's type instead of that of all questions. A question
            without a type, as those of `vlrnn ask`, gets the overall prior.
    """

    data_arguments = ("vocabulary", "answers", "prior")

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
        """Does nothing: there are no parameters."""

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self._collect(batch)

    def configure_optimizers(self) -> None:
        """None."""

"""What both heads of visual question answering share: the words, the answers, the ceiling, and the score."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from vlrnn.data.batches import Batch
from vlrnn.errors import UserError
from vlrnn.metrics.vqa import score_answers
from vlrnn.nn.encoders import Encoder
from vlrnn.progress import say
from vlrnn.records import Example, Id, Prediction, open_split
from vlrnn.tasks.base import Task
from vlrnn.tasks.optimization import Optimization
from vlrnn.tasks.speaking import Distributions
from vlrnn.text.answer_set import AnswerSet, worth
from vlrnn.text.answers import canonical
from vlrnn.text.vocabulary import Vocabulary

Parts = TypeVar("Parts")

_TOLD = 5
"""How many answers a prediction names, the likeliest."""


class QuestionAnswering(Task):
    """A task that answers questions about images, in whatever way.

    Args:
        vocabulary: the words of questions (and of answers that are spoken).
        answers: the closed set.
        encoder: sees.
        optimization: moves the parameters.
    """

    headline = "overall"
    does = "answers questions (vlrnn ask)"

    def __init__(
        self, vocabulary: Vocabulary, answers: AnswerSet, encoder: Encoder, optimization: Optimization
    ) -> None:
        super().__init__(encoder, optimization)
        self.vocabulary = vocabulary
        self.answers = answers

    def ceiling(self, examples: Iterable[Example]) -> float:
        """The accuracy, in percent, of always giving the best answer of the set."""
        reached = []
        for example in examples:
            counts = self.answers.counts(map(canonical, example.answers))
            reached.append(max((worth(count, len(example.answers)) for count in counts.values()), default=0.0))
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
        say(f"a set of {len(self.answers):,} answers; with it {told} can be reached")

    def score(self, predictions: Mapping[Id, Prediction], examples: Mapping[Id, Example]) -> dict[str, Any]:
        """VQA accuracy in percent: overall, per answer type, per question type, and notes on what it does not show;
        nothing for a split whose answers are kept from us."""
        if not any(example.answers for example in examples.values()):
            return {"scores": {}, "settings": {"n": len(examples), "not_computed": "the split has no answers"}}
        return score_answers({id: prediction.text for id, prediction in predictions.items()}, examples)


class Choosing(QuestionAnswering):
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
        return choose(batch.examples, self.probabilities(batch), self.answers, {"score": self.score_name})

    def distributions(self, batch: Batch, said: Sequence[Prediction]) -> Distributions:
        """Of the answers, as shares of the sum of their probabilities."""
        probabilities = self.probabilities(batch)
        # Far below zero a sigmoid is 0, which has no logarithm.
        log_shares = probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log().log_softmax(-1)[:, None]
        return Distributions(log_shares, torch.ones_like(log_shares[..., 0], dtype=torch.bool))


def alike(parts: Parts, members: int) -> list[Parts]:
    """The parts of each of so many members of a model, to be built: they differ in the random numbers of that alone.

    Raises:
        UserError: there is no member.
    """
    if members < 1:
        raise UserError(f"model: members must be at least 1, not {members}")
    return [parts, *(deepcopy(parts) for _ in range(members - 1))]


def choose(
    examples: Sequence[Example], probabilities: Tensor, answers: AnswerSet, settings: Mapping[str, Any]
) -> list[Prediction]:
    """The likeliest of A answers to M questions, by their probabilities [M, A], and the next best as alternatives."""
    best = probabilities.topk(min(_TOLD, len(answers)))
    predictions = []
    for example, scores, ids in zip(examples, best.values.tolist(), best.indices.tolist(), strict=True):
        told = [(answers.answers[id], score) for id, score in zip(ids, scores, strict=True)]
        (text, score), *others = told
        alternatives = tuple({"text": text, "score": score} for text, score in others)
        predictions.append(
            Prediction(example.id, example.image_id, text, score=score, alternatives=alternatives, settings=settings)
        )
    return predictions

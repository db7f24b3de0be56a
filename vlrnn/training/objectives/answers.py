"""Objectives of answer classification: sums over questions, and their count."""

from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from vlrnn.errors import UserError
from vlrnn.nn.batching import index_rows, map_tree
from vlrnn.training.objectives.base import Loss, Objective, mean_loss


class AnswerLogits(NamedTuple):
    """A classifier's output for M questions: the `logits` [M, A] of all answers, computed from `fused` [M, F], the
    fusion with the image; the `question` vectors [M, Q]; and which `member` of an ensemble it is, from 0."""

    logits: Tensor
    question: Tensor
    fused: Tensor
    member: int = 0


class Targets(NamedTuple):
    """Targets of M questions over A answers, from annotators: `counts` [M, A], how many gave each; `soft_scores` [M,
    A], the accuracy of each, in 0..1; and `prior` [M, A], the frequency of each, in 0..1, for training questions of the
    same type, if given. They stay on the CPU, so that selecting questions with a target does not wait for a GPU."""

    counts: Tensor
    soft_scores: Tensor
    prior: Tensor | None = None


@runtime_checkable
class AnswerTask(Protocol):
    """A task that classifies questions by their answer."""

    def answer_logits(self, batch: Any) -> list[AnswerLogits]:
        """The output for the questions of a batch, of each member of an ensemble."""

    def answer_targets(self, batch: Any) -> Targets:
        """The targets of the questions of a batch."""


Link = Literal["sigmoid", "softmax"]
"""A function from logits to probabilities: `sigmoid` of each logit, or `softmax` over all."""

LINKS: dict[Link, str] = {"sigmoid": "sigmoid", "softmax": "softmax probability"}
"""Links, and the names of the numbers in 0..1 that they give."""


def apply_link(link: Link, logits: Tensor) -> Tensor:
    """Logits [M, A] -> probabilities [M, A]; with sigmoid a row need not sum to one."""
    return logits.sigmoid() if link == "sigmoid" else logits.softmax(-1)


class AnswerObjective(Objective):
    """The interface.

    Attributes:
        link: the function from the logits of a model trained with this objective to probabilities.
    """

    task_type = AnswerTask
    link: Link

    def build(self, question_dim: int, fused_dim: int, answers: int, num_members: int = 1) -> Self:
        """Make the parameters, if any, for question_dim Q, fused_dim F and A answers, for each member of an ensemble;
        returns itself."""
        return self

    def loss(self, task: AnswerTask, batch: Any) -> Loss:
        outputs = task.answer_logits(batch)
        targets = task.answer_targets(batch)
        return mean_loss(self(each, targets) for each in outputs)

    def forward(self, output: AnswerLogits, targets: Targets) -> Loss:
        """The loss of M questions: a sum over questions, in nats, and their count."""
        raise NotImplementedError


class LogitObjective(AnswerObjective):
    """A loss of the logits alone, question by question."""

    def has_target(self, targets: Targets) -> Tensor:
        """Mask [M] of the questions that have a target."""
        raise NotImplementedError

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        """The losses [m] of the m questions that have a target."""
        raise NotImplementedError

    def log_odds(self, shares: Tensor) -> Tensor:
        """The logits [M, A] that the link maps to these shares [M, A], in 0..1."""
        raise NotImplementedError

    def forward(self, output: AnswerLogits, targets: Targets) -> Loss:
        return self.of_logits(output.logits, targets)

    def of_logits(self, logits: Tensor, targets: Targets, weights: Tensor | None = None) -> Loss:
        """The loss of logits [M, A], questions weighted by `weights` [M] where given."""
        mask = self.has_target(targets)
        if weights is None:
            weights = torch.ones_like(targets.counts[:, 0])
        selected, weights = Targets(targets.counts[mask], targets.soft_scores[mask]), weights[mask]
        selected, weights = map_tree(lambda each: each.to(logits.device, non_blocking=True), (selected, weights))
        each = self.each(index_rows(logits, mask.nonzero()[:, 0]), selected)
        return Loss((weights * each).sum(), weights.sum())


class SoftScores(LogitObjective):
    """Binary cross entropy with the soft score of every answer as target, summed over answers (Teney et al. 2018)."""

    link = "sigmoid"

    def has_target(self, targets: Targets) -> Tensor:
        return torch.ones_like(targets.counts[:, 0], dtype=torch.bool)

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, targets.soft_scores, reduction="none").sum(1)

    def log_odds(self, shares: Tensor) -> Tensor:
        return shares.logit()


class _OneAnswer(LogitObjective):
    """Cross entropy with one answer of each question that has an answer in the set; the others are left out.

    Args:
        label_smoothing: share of the target's probability that is spread over all answers (Szegedy et al. 2016, section
            7).
    """

    link = "softmax"

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise UserError(f"loss: label_smoothing must be at least 0 and below 1, not {label_smoothing}")
        self.label_smoothing = label_smoothing

    def has_target(self, targets: Targets) -> Tensor:
        return targets.counts.sum(1) > 0

    def pick(self, counts: Tensor) -> Tensor:
        """Counts [m, A] -> target answers [m]."""
        raise NotImplementedError

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        picked = self.pick(targets.counts)
        return F.cross_entropy(logits, picked, reduction="none", label_smoothing=self.label_smoothing)

    def log_odds(self, shares: Tensor) -> Tensor:
        return shares.log()


class MajorityCrossEntropy(_OneAnswer):
    """Cross entropy with the majority answer of annotators (Antol et al. 2015).

    Args:
        label_smoothing: share of the target's probability that is spread over all answers.
    """

    def pick(self, counts: Tensor) -> Tensor:
        return counts.argmax(1)


class SampledCrossEntropy(_OneAnswer):
    """Cross entropy with the answer of an annotator, drawn anew each time (Fukui et al. 2016).

    Args:
        label_smoothing: share of the target's probability that is spread over all answers.
    """

    def pick(self, counts: Tensor) -> Tensor:
        return torch.multinomial(counts, 1).squeeze(1) if len(counts) else counts.new_zeros(0, dtype=torch.long)

"""What the training of a classifier of answers minimises: sums over questions, and their count."""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.nn.batching import index_rows, map_tree
from vlrnn.training.objectives.base import Loss


class AnswerLogits(NamedTuple):
    """What a classifier makes of M questions: the `logits` [M, A] of all answers, from what was asked and seen, `fused`
    [M, F], and from the `question` [M, Q]."""

    logits: Tensor
    question: Tensor
    fused: Tensor


class Targets(NamedTuple):
    """What annotators said of M questions, on A answers: `counts` [M, A], how many gave each, and `worth` [M, A], the
    accuracy in 0..1 that it would have; and `prior` [M, A], how often, in 0..1, each is right for training questions of
    the same type, where that is known. They stay on the CPU, where which questions teach anything is found out without
    waiting for a GPU."""

    counts: Tensor
    soft_scores: Tensor
    prior: Tensor | None = None


LINKS = {"sigmoid": "sigmoid", "softmax": "softmax probability"}
"""What turns logits into numbers in 0..1, and what these are called."""


class AnswerObjective(Configurable, nn.Module):
    """The interface.

    Attributes:
        link: `sigmoid` of each logit, or `softmax` over all: what turns the logits of a model that was trained so into
            numbers in 0..1.
    """

    link: str

    def build(self, question_width: int, fused_width: int, answers: int) -> Self:
        """Make the parameters, if any, for questions Q and fusions F wide and A answers; returns itself."""
        return self

    def forward(self, guess: AnswerLogits, targets: Targets) -> Loss:
        """A guess against what annotators said; a sum over questions, in nats, and how many they are."""
        raise NotImplementedError

    def probabilities(self, logits: Tensor) -> Tensor:
        """What logits [M, A] of a model that was trained so mean, in 0..1; of sigmoids a row need not sum to one."""
        return logits.sigmoid() if self.link == "sigmoid" else logits.softmax(-1)


class LogitObjective(AnswerObjective):
    """A loss that looks at the logits alone, question by question."""

    def has_target(self, targets: Targets) -> Tensor:
        """Which questions [M] teach anything."""
        raise NotImplementedError

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        """The losses [M] of questions that do."""
        raise NotImplementedError

    def log_odds(self, shares: Tensor) -> Tensor:
        """The logits [M, A] whose `probabilities` are these shares, in 0..1."""
        raise NotImplementedError

    def forward(self, guess: AnswerLogits, targets: Targets) -> Loss:
        return self.of_logits(guess.logits, targets)

    def of_logits(self, logits: Tensor, targets: Targets, weights: Tensor | None = None) -> Loss:
        """The loss of logits [M, A], questions weighted by `weights` [M] where given."""
        taught = self.has_target(targets)
        if weights is None:
            weights = torch.ones_like(targets.counts[:, 0])
        known, weights = Targets(targets.counts[taught], targets.soft_scores[taught]), weights[taught]
        known, weights = map_tree(lambda each: each.to(logits.device, non_blocking=True), (known, weights))
        each = self.each(index_rows(logits, taught.nonzero()[:, 0]), known)
        return Loss((weights * each).sum(), weights.sum())


class SoftScores(LogitObjective):
    """Binary cross entropy with the worth of every answer, summed over answers (Teney et al. 2018)."""

    link = "sigmoid"

    def has_target(self, targets: Targets) -> Tensor:
        return torch.ones_like(targets.counts[:, 0], dtype=torch.bool)

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, targets.soft_scores, reduction="none").sum(1)

    def log_odds(self, shares: Tensor) -> Tensor:
        return shares.logit()


class _OneAnswer(LogitObjective):
    """Cross entropy with one answer of each question that has an answer in the set; the others teach nothing.

    Args:
        label_smoothing: the share of a target that is spread over all answers (Szegedy et al. 2016, section 7).
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
        """Counts [m, A] -> an answer each [m]."""
        raise NotImplementedError

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        picked = self.pick(targets.counts)
        return F.cross_entropy(logits, picked, reduction="none", label_smoothing=self.label_smoothing)

    def log_odds(self, shares: Tensor) -> Tensor:
        return shares.log()


class MajorityCrossEntropy(_OneAnswer):
    """Cross entropy with the answer that most annotators gave (Antol et al. 2015).

    Args:
        label_smoothing: as of its base.
    """

    def pick(self, counts: Tensor) -> Tensor:
        return counts.argmax(1)


class SampledCrossEntropy(_OneAnswer):
    """Cross entropy with an annotator's answer, drawn anew each time (Fukui et al. 2016).

    Args:
        label_smoothing: as of its base.
    """

    def pick(self, counts: Tensor) -> Tensor:
        return torch.multinomial(counts, 1).squeeze(1) if len(counts) else counts.new_zeros(0, dtype=torch.long)

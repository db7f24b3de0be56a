"""What the training of a classifier of answers minimises: sums over questions, and their count."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vlrnn.parts import Part
from vlrnn.tasks.objectives import Loss


class Targets(NamedTuple):
    """What annotators said of M questions, on A answers: `counts` [M, A], how many gave each, and `worth` [M, A], the
    accuracy in 0..1 that it would have."""

    counts: Tensor
    worth: Tensor


class AnswerLoss(Part):
    """The interface."""

    def __call__(self, logits: Tensor, targets: Targets) -> Loss:
        """Logits [M, A] against what annotators said; a sum over questions, in nats, and how many they are."""
        raise NotImplementedError

    def probabilities(self, logits: Tensor) -> Tensor:
        """What logits [M, A] of a model that was trained so mean, in 0..1; a row need not sum to one."""
        return logits.softmax(-1)


class SoftAnswers(AnswerLoss):
    """Binary cross entropy with the worth of every answer, summed over answers (Teney et al. 2018)."""

    def __call__(self, logits: Tensor, targets: Targets) -> Loss:
        total = F.binary_cross_entropy_with_logits(logits, targets.worth, reduction="sum")
        return Loss(total, total.new_tensor(len(logits)))

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()


class _OneAnswer(AnswerLoss):
    """Cross entropy with one answer of each question that has an answer in the set; the others teach nothing."""

    def pick(self, counts: Tensor) -> Tensor:
        """Counts [m, A] -> an answer each [m]."""
        raise NotImplementedError

    def __call__(self, logits: Tensor, targets: Targets) -> Loss:
        known = targets.counts.sum(1) > 0
        total = F.cross_entropy(logits[known], self.pick(targets.counts[known]), reduction="sum")
        return Loss(total, known.sum())


class MajorityAnswer(_OneAnswer):
    """Cross entropy with the answer that most annotators gave (Antol et al. 2015)."""

    def pick(self, counts: Tensor) -> Tensor:
        return counts.argmax(1)


class SampledAnswer(_OneAnswer):
    """Cross entropy with an annotator's answer, drawn anew each time (Fukui et al. 2016)."""

    def pick(self, counts: Tensor) -> Tensor:
        return torch.multinomial(counts, 1).squeeze(1) if len(counts) else counts.new_zeros(0, dtype=torch.long)

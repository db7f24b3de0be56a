"""Debiasing objectives: they keep a classifier of answers from learning the answer prior of a question or its type.

Each wraps a loss of logits, the base objective. In training the bias is combined with the model's logits, so that the
model need not learn it; in validation and inference the logits are the model's, and the loss is the base objective.
"""

from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.batching import index_rows
from vlrnn.training.objectives.answers import (
    AnswerLogits,
    AnswerObjective,
    LogitObjective,
    MajorityCrossEntropy,
    Targets,
)
from vlrnn.training.objectives.base import Loss

_OPEN = 3.0  # the sigmoid of which is 0.95


class Debiased(AnswerObjective):
    """The base of debiasing objectives.

    Args:
        base_objective: the loss of logits; null: `MajorityCrossEntropy`.
    """

    def __init__(self, base_objective: LogitObjective | None = None) -> None:
        super().__init__()
        self.base_objective = base_objective or MajorityCrossEntropy()
        self.link = self.base_objective.link

    def biased(self, output: AnswerLogits, targets: Targets) -> Loss:
        """The loss in training."""
        raise NotImplementedError

    def forward(self, output: AnswerLogits, targets: Targets) -> Loss:
        return self.biased(output, targets) if self.training else self.base_objective(output, targets)


class _WithPrior(Debiased):
    """Objectives whose bias is the answer prior of the question's type, as in Clark, Yatskar and Zettlemoyer (2019) for
    VQA-CP.

    Args:
        base_objective: the loss of logits; null: `MajorityCrossEntropy`.
        smoothing: share of the prior that is spread evenly over all answers. Without it a model would never learn which
            answers a question type cannot have.
    """

    def __init__(self, base_objective: LogitObjective | None = None, smoothing: float = 0.05) -> None:
        super().__init__(base_objective)
        if not 0 < smoothing < 1:
            raise UserError(f"loss: smoothing must lie between 0 and 1, not {smoothing}")
        self.smoothing = smoothing

    def prior(self, targets: Targets) -> Tensor:
        """The smoothed prior [M, A]."""
        if targets.prior is None:
            raise UserError("this loss needs the frequencies of answers: give the model its `prior`")
        return (1 - self.smoothing) * targets.prior + self.smoothing / targets.prior.shape[1]


class Reweighting(_WithPrior):
    """Each question is weighted by 1 - b, b the prior of its annotators' answers (Clark et al. 2019, section 5.1):
    questions that the prior answers count little."""

    def biased(self, output: AnswerLogits, targets: Targets) -> Loss:
        gave = targets.counts / targets.counts.sum(1, keepdim=True).clamp(min=1)
        weights = 1 - (gave * self.prior(targets)).sum(1)
        return self.base_objective.of_logits(output.logits, targets, weights)


class BiasProduct(_WithPrior):
    """A product of experts: the sum of the model's logits and those of the prior (Clark et al. 2019, section 3.2.2;
    Hinton 2002)."""

    def biased(self, output: AnswerLogits, targets: Targets) -> Loss:
        prior = self.prior(targets).to(output.logits.device, non_blocking=True)
        return self.base_objective.of_logits(output.logits + self.base_objective.log_odds(prior), targets)


class LearnedMixin(_WithPrior):
    """As `BiasProduct`, with a learned weight of the prior for each question, g = softplus(w . fused + b); a penalty on
    the entropy of softmax(g log prior) keeps g from zero (Clark et al. 2019, sections 3.2.3, 3.2.4).

    Args:
        base_objective, smoothing: as of `BiasProduct`.
        entropy_weight: of the penalty; the paper's is 0.36 for VQA-CP.
    """

    def __init__(
        self, base_objective: LogitObjective | None = None, smoothing: float = 0.05, entropy_weight: float = 0.36
    ) -> None:
        super().__init__(base_objective, smoothing)
        self.entropy_weight = entropy_weight

    def build(self, question_dim: int, fused_dim: int, answers: int, num_members: int = 1) -> Self:
        self.trust = nn.ModuleList(nn.Linear(fused_dim, 1) for _ in range(num_members))
        return self

    def biased(self, output: AnswerLogits, targets: Targets) -> Loss:
        trust = F.softplus(self.trust[output.member](output.fused))  # [M, 1]
        prior = self.prior(targets).to(trust.device, non_blocking=True)
        loss = self.base_objective.of_logits(output.logits + trust * self.base_objective.log_odds(prior), targets)
        shares = (trust * prior.log()).log_softmax(-1)
        entropy = -index_rows(
            (shares.exp() * shares).sum(1), self.base_objective.has_target(targets).nonzero()[:, 0]
        ).sum()
        return Loss(loss.total + self.entropy_weight * entropy, loss.count)


class RUBi(Debiased):
    """A second classifier of the question alone: its logits c mask the model's, logits * sigmoid(c), and it has a loss
    of its own. Its gradients do not reach the question encoder (Cadene et al. 2019, section 3.2).

    Args:
        base_objective: the loss of logits; null: `MajorityCrossEntropy`.
        hidden_size: of the second classifier's hidden layer.
        weight: of the second classifier's loss.
    """

    def __init__(
        self, base_objective: LogitObjective | None = None, hidden_size: int = 256, weight: float = 1.0
    ) -> None:
        super().__init__(base_objective)
        self.hidden_size = hidden_size
        self.weight = weight

    def build(self, question_dim: int, fused_dim: int, answers: int, num_members: int = 1) -> Self:
        self.members = nn.ModuleList(
            _QuestionClassifier(question_dim, self.hidden_size, answers) for _ in range(num_members)
        )
        return self

    def biased(self, output: AnswerLogits, targets: Targets) -> Loss:
        mask, blind_logits = self.members[output.member](output.question.detach())
        loss = self.base_objective.of_logits(output.logits * mask.sigmoid(), targets)
        blind = self.base_objective.of_logits(blind_logits, targets)
        return Loss(loss.total + self.weight * blind.total, loss.count)


class _QuestionClassifier(nn.Module):
    """The second classifier of `RUBi`: question vectors [M, Q] -> its mask [M, A] and its logits [M, A]."""

    def __init__(self, question_dim: int, hidden_size: int, answers: int) -> None:
        super().__init__()
        mask = nn.Linear(hidden_size, answers)
        self.mask = nn.Sequential(nn.Linear(question_dim, hidden_size), nn.ReLU(), mask)
        self.blind_logits = nn.Linear(answers, answers)
        # Initially the mask is near one, and the blind logits are those of the mask: frequent answers pass it. Drawn at
        # random, the mask may suppress frequent answers, and the model overrates them all the more.
        nn.init.constant_(mask.bias, _OPEN)
        nn.init.eye_(self.blind_logits.weight)

    def forward(self, question: Tensor) -> tuple[Tensor, Tensor]:
        mask = self.mask(question)
        return mask, self.blind_logits(mask)

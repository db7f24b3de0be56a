"""Losses that keep a classifier of answers from learning what a question, or its type, gives away by itself.

Each is put around a loss of logits. In training the bias has its say beside the model, so that the model need not learn
it; in validation and use the model speaks alone, and its loss is the inner one.
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
    """What they share.

    Args:
        base_objective: the loss of logits.
    """

    def __init__(self, base_objective: LogitObjective | None = None) -> None:
        super().__init__()
        self.base_objective = base_objective or MajorityCrossEntropy()
        self.link = self.base_objective.link

    def biased(self, guess: AnswerLogits, targets: Targets) -> Loss:
        """The loss in training."""
        raise NotImplementedError

    def forward(self, guess: AnswerLogits, targets: Targets) -> Loss:
        return self.biased(guess, targets) if self.training else self.base_objective(guess, targets)


class _PriorKnown(Debiased):
    """Those that take the bias to be the prior of answers for the question's type, as Clark, Yatskar and Zettlemoyer
    (2019) do for VQA-CP.

    Args:
        base_objective: the loss of logits.
        smoothing: the share of the prior that is spread evenly over all answers. Without, a model would never learn
            which answers a type of question cannot have.
    """

    def __init__(self, base_objective: LogitObjective | None = None, smoothing: float = 0.05) -> None:
        super().__init__(base_objective)
        if not 0 < smoothing < 1:
            raise UserError(f"loss: smoothing must lie between 0 and 1, not {smoothing}")
        self.smoothing = smoothing

    def prior(self, targets: Targets) -> Tensor:
        """The smoothed prior [M, A]."""
        if targets.prior is None:
            raise UserError("this loss needs to know how often which answer is right: give the model its `prior`")
        return (1 - self.smoothing) * targets.prior + self.smoothing / targets.prior.shape[1]


class Reweighting(_PriorKnown):
    """A question weighs 1 - b, where b is the prior of its annotators' answers (Clark et al. 2019, section 5.1): what
    can be guessed counts little."""

    def biased(self, guess: AnswerLogits, targets: Targets) -> Loss:
        gave = targets.counts / targets.counts.sum(1, keepdim=True).clamp(min=1)
        weights = 1 - (gave * self.prior(targets)).sum(1)
        return self.base_objective.of_logits(guess.logits, targets, weights)


class BiasProduct(_PriorKnown):
    """A product of experts: the model's logits and those of the prior, added (Clark et al. 2019, section 3.2.2; Hinton
    2002)."""

    def biased(self, guess: AnswerLogits, targets: Targets) -> Loss:
        prior = self.prior(targets).to(guess.logits.device, non_blocking=True)
        return self.base_objective.of_logits(guess.logits + self.base_objective.log_odds(prior), targets)


class LearnedMixin(_PriorKnown):
    """As the bias product, but how much the prior is trusted, g = softplus(w . fused + b), is learnt for each question;
    and lest it be ignored, the entropy of softmax(g log prior) is punished (Clark et al. 2019, sections 3.2.3, 3.2.4).

    Args:
        base_objective, smoothing: as for the others.
        entropy_weight: the weight of the punishment; the paper's is 0.36 for VQA-CP.
    """

    def __init__(
        self, base_objective: LogitObjective | None = None, smoothing: float = 0.05, entropy_weight: float = 0.36
    ) -> None:
        super().__init__(base_objective, smoothing)
        self.entropy_weight = entropy_weight

    def build(self, question_width: int, fused_width: int, answers: int) -> Self:
        self.trust = nn.Linear(fused_width, 1)
        return self

    def biased(self, guess: AnswerLogits, targets: Targets) -> Loss:
        trust = F.softplus(self.trust(guess.fused))  # [M, 1]
        prior = self.prior(targets).to(trust.device, non_blocking=True)
        loss = self.base_objective.of_logits(guess.logits + trust * self.base_objective.log_odds(prior), targets)
        shares = (trust * prior.log()).log_softmax(-1)
        entropy = -index_rows(
            (shares.exp() * shares).sum(1), self.base_objective.has_target(targets).nonzero()[:, 0]
        ).sum()
        return Loss(loss.total + self.entropy_weight * entropy, loss.count)


class RUBi(Debiased):
    """A second classifier sees the question alone; its logits c mask the model's, logits * sigmoid(c), and it learns by
    a loss of its own. None of this moves the question encoder (Cadene et al. 2019, section 3.2).

    Args:
        hidden_size: the loss of logits.
        hidden_size: the width of the second classifier's hidden layer.
        weight: of its own loss.
    """

    def __init__(
        self, base_objective: LogitObjective | None = None, hidden_size: int = 256, weight: float = 1.0
    ) -> None:
        super().__init__(base_objective)
        self.hidden_size = hidden_size
        self.weight = weight

    def build(self, question_width: int, fused_width: int, answers: int) -> Self:
        mask = nn.Linear(self.hidden_size, answers)
        self.mask = nn.Sequential(nn.Linear(question_width, self.hidden_size), nn.ReLU(), mask)
        self.blind_logits = nn.Linear(answers, answers)
        # The mask begins open, and its logits as those of the blind answers: likely answers are let through. As random
        # numbers leave the two, likely answers may be those shut out, and the model overrates them all the more.
        nn.init.constant_(mask.bias, _OPEN)
        nn.init.eye_(self.blind_logits.weight)
        return self

    def biased(self, guess: AnswerLogits, targets: Targets) -> Loss:
        mask = self.mask(guess.question.detach())
        loss = self.base_objective.of_logits(guess.logits * mask.sigmoid(), targets)
        blind = self.base_objective.of_logits(self.blind_logits(mask), targets)
        return Loss(loss.total + self.weight * blind.total, loss.count)

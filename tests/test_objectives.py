"""The loss against its formulas, written out slowly."""

import pytest
import torch
from torch import Tensor, nn

from vlrnn.nn.decoders.base import Decoder, DecoderOutput
from vlrnn.text.vocabulary import PAD
from vlrnn.training.objectives.cross_entropy import CrossEntropy

M, T, N, V, D = 3, 5, 4, 7, 6


class Readout(Decoder):
    """As much of a decoder as a loss needs."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(D, V)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.score(hidden)


def case() -> tuple[Readout, DecoderOutput, Tensor]:
    targets = torch.randint(1, V, (M, T))
    targets[1, 3:] = PAD
    targets[2, 1:] = PAD
    attention = torch.randn(M, T, N).softmax(-1)
    return Readout(), DecoderOutput(torch.randn(M, T, D, requires_grad=True), attention), targets


def cross_entropy(logits: Tensor, target: int, smoothing: float) -> Tensor:
    """-(1 - s) log p(target) - s / V * sum of log p, in nats."""
    log_p = logits - logits.exp().sum().log()
    return -(1 - smoothing) * log_p[target] - smoothing * log_p.mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_formula(smoothing: float, weight: float) -> None:
    decoder, said, targets = case()
    loss = CrossEntropy(smoothing, weight)(decoder, said, targets)
    total, count = torch.zeros(()), 0
    for row in range(M):
        looked = [0.0] * N
        for time in range(T):
            if targets[row, time] != PAD:
                total = total + cross_entropy(decoder.score(said.hidden[row, time]), int(targets[row, time]), smoothing)
                looked = [old + float(new) for old, new in zip(looked, said.attention[row, time], strict=True)]
                count += 1
        total = total + weight * sum((1 - each) ** 2 for each in looked)
    assert int(loss.count) == count == 9
    assert loss.total.dim() == 0
    torch.testing.assert_close(loss.total, total)


def test_sums_add_up() -> None:
    """The loss of a batch is the sum of the losses of its rows, whatever they are filled up to."""
    decoder, said, targets = case()
    objective = CrossEntropy(0.1, 1.0)
    whole = objective(decoder, said, targets)
    parts = []
    for row in range(M):
        length = int((targets[row] != PAD).sum())
        part = DecoderOutput(said.hidden[row : row + 1, :length], said.attention[row : row + 1, :length])
        parts.append(objective(decoder, part, targets[row : row + 1, :length]))
    torch.testing.assert_close(whole.total, sum(part.total for part in parts))
    assert whole.count == sum(part.count for part in parts)


def test_what_is_filled_up_learns_nothing() -> None:
    decoder, said, targets = case()
    CrossEntropy(0.1, 1.0)(decoder, said, targets).total.backward()
    assert (said.hidden.grad[targets == PAD] == 0).all()
    assert (said.hidden.grad[targets != PAD].abs().sum(-1) > 0).all()


def test_decoders_that_do_not_attend_have_no_penalty() -> None:
    decoder, said, targets = case()
    blind = DecoderOutput(said.hidden, None)
    assert torch.equal(
        CrossEntropy(0.0, 5.0)(decoder, blind, targets).total, CrossEntropy()(decoder, said, targets).total
    )


def test_half_precision_is_summed_in_full() -> None:
    decoder, said, targets = case()
    half = DecoderOutput(said.hidden.bfloat16(), said.attention.bfloat16())
    loss = CrossEntropy(0.1, 1.0)(decoder.bfloat16(), half, targets)
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(
        loss.total, CrossEntropy(0.1, 1.0)(decoder.float(), said, targets).total, rtol=0.02, atol=0.1
    )


def test_no_rows() -> None:
    decoder, said, targets = case()
    loss = CrossEntropy(0.1, 1.0)(decoder, DecoderOutput(said.hidden[:0], said.attention[:0]), targets[:0])
    assert loss.total == 0
    assert loss.count == 0

"""Pooling over time against plain loops, and the classifier of streams that uses it."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vlrnn.config import from_config, to_config
from vlrnn.nn.question_encoder import LastStep, MaxOverTime, MeanOverTime, SequenceClassifier, TemporalPooling
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.rnn import GRU, LSTM, RNN

B, T, I, D, A = 5, 7, 3, 6, 4  # noqa: E741
LENGTHS = torch.tensor([7, 2, 0, 4, 1])

LITERAL = {
    LastStep: lambda row: row[-1],
    MeanOverTime: lambda row: sum(row) / len(row),
    MaxOverTime: lambda row: torch.stack([max(column) for column in torch.stack(list(row)).T]),
}
every_pooling = pytest.mark.parametrize("kind", list(LITERAL))


def test_pooling_is_the_literal_one(subtests: pytest.Subtests) -> None:
    for kind in LITERAL:
        with subtests.test(kind=kind):
            outputs = torch.randn(B, T, D) - 1
            pooled = kind()(outputs, LENGTHS)
            for row, length in enumerate(LENGTHS.tolist()):
                expected = LITERAL[kind](outputs[row, :length]) if length else torch.zeros(D)
                torch.testing.assert_close(pooled[row], expected)


def test_what_lies_past_the_length_does_not_matter(subtests: pytest.Subtests) -> None:
    for kind, past in product(LITERAL, [1e6, float("nan"), float("inf")]):
        with subtests.test(kind=kind, past=past):
            outputs = torch.randn(B, T, D, requires_grad=True)
            within = (torch.arange(T) < LENGTHS[:, None])[..., None]
            pooled = kind()(torch.where(within, outputs, past), LENGTHS)
            assert torch.equal(pooled, kind()(outputs, LENGTHS))
            (gradient,) = torch.autograd.grad(pooled.sum(), outputs)
            assert gradient.isfinite().all()
            assert (gradient[~within.expand_as(gradient)] == 0).all()


def test_a_pooling_is_described(subtests: pytest.Subtests) -> None:
    for kind in LITERAL:
        with subtests.test(kind=kind):
            classifier = SequenceClassifier(GRU(D), A, kind(), dropout=0.2)
            again = from_config(to_config(classifier), SequenceClassifier, "here")
            assert type(again.pooling) is kind
            assert to_config(again) == to_config(classifier)
            assert to_config(from_config(to_config(SequenceClassifier(GRU(D), A)), SequenceClassifier, "here"))


@pytest.mark.parametrize("pooling", [LastStep(), MeanOverTime(), MaxOverTime(), None])
def test_a_row_alone_is_scored_as_among_others(pooling: TemporalPooling | None) -> None:
    classifier = SequenceClassifier(LSTM(D), A, pooling).build(I).eval()
    xs, lengths = torch.randn(B, T, I), LENGTHS.clamp(min=1)
    logits = classifier(xs, lengths)
    assert logits.shape == ((B, A) if pooling else (B, T, A))
    for row, length in enumerate(lengths.tolist()):
        alone = classifier(xs[row : row + 1, :length])[0]
        torch.testing.assert_close(alone, logits[row] if pooling else logits[row, :length], rtol=1e-5, atol=1e-5)


def trained_accuracy(classifier: SequenceClassifier, xs: Tensor, targets: Tensor, steps: int = 150) -> float:
    """The share that is right after learning, of streams like those that were learnt from."""
    half = len(xs) // 2
    optimizer = torch.optim.Adam(classifier.parameters(), 1e-2)
    for _ in range(steps):
        loss = F.cross_entropy(classifier(xs[:half]).flatten(0, -2), targets[:half].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (classifier(xs[half:]).argmax(-1) == targets[half:]).float().mean().item()


@pytest.mark.parametrize("pooling", [LastStep(), MeanOverTime(), MaxOverTime()])
@pytest.mark.parametrize("cell", [RNN, GRU])
def test_a_class_for_a_stream_is_learned(pooling: TemporalPooling, cell: type[Recurrence]) -> None:
    """Whether a frame of one kind was anywhere in it: of eight kinds, over ten steps."""
    kinds = torch.randint(1, 8, (600, 10))
    targets = torch.randint(0, 2, (600,))
    kinds[torch.arange(600), torch.randint(0, 10, (600,))] *= 1 - targets
    xs = F.one_hot(kinds, 8).float()
    assert trained_accuracy(SequenceClassifier(cell(24), 2, pooling).build(8), xs, targets) > 0.9


def test_a_class_for_each_step_is_learned() -> None:
    """How many of the symbols so far are 1, modulo two: nothing but the recurrence can know."""
    bits = torch.randint(0, 2, (400, 6))
    classifier = SequenceClassifier(GRU(24), 2).build(1)
    assert trained_accuracy(classifier, bits[..., None].float() * 2 - 1, bits.cumsum(1) % 2, steps=300) > 0.95

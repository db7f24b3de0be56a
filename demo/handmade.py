"""Recurrent networks with weights set by hand, whose states can be read, and the same networks trained from random
weights, compared on all binary strings of 1 to 12 symbols. Each maps a string to 0 or 1 at every symbol.

python demo/handmade.py
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.nn.recurrent.rnn import RNN
from vlrnn.studies.fitting import fit_small


class Detector(nn.Module):
    """A ReLU RNN over binary symbols x with output y: h' = max(0, W x + U h + b), y = max(0, v h'). Its initial
    state is a parameter.

    Args:
        hidden_size: H, of the state.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.recurrence = RNN(hidden_size, nonlinearity="relu", learn_initial_state=True).build(1)
        self.output = nn.Linear(hidden_size, 1, bias=False)

    def score(self, symbols: Tensor) -> Tensor:
        """v h' after each symbol: [B, T], 0 or 1, -> [B, T]. Training uses this: below zero the ReLU has no
        gradient."""
        xs = symbols[..., None].to(self.output.weight.dtype)
        states, _ = self.recurrence(xs, self.recurrence.initial_state(len(symbols)))
        return self.output(states)[..., 0]

    def forward(self, symbols: Tensor) -> Tensor:
        """The output y after each symbol: [B, T], 0 or 1, -> [B, T]."""
        return self.score(symbols).relu()


def two_ones() -> Detector:
    """Outputs 1 exactly where this symbol and the one before are both 1.

    The state is (current, previous, 1), and the output max(0, current + previous - 1). Zeros are
    assumed before the first symbol.
    """
    return _written(
        first=(0, 0, 1),
        symbol=(1, 0, 0),
        state=(
            (0, 0, 0),  # current' = symbol
            (1, 0, 0),  # previous' = current
            (0, 0, 1),  # 1' = 1
        ),
        output=(1, 1, -1),
    )


def same_as_before() -> Detector:
    """Outputs 1 exactly where this symbol equals the one before, 00 or 11; at the first symbol it outputs 0.

    No output max(0, affine) of (current, previous) can: half-way between 00 and 11 the affine map were 1, the mean of
    both, and half-way between 01 and 10, which is the same point, 0 at most. So the state is (current, rose, fell, 1),
    with rose' = max(0, symbol - current) and fell' = max(0, current - symbol), and the output max(0, 1 - 2 rose - 2
    fell). Initially current is a half, as far from 0 as from 1: the first symbol equals none before.
    """
    return _written(
        first=(0.5, 0, 0, 1),
        symbol=(1, 1, -1, 0),
        state=(
            (0, 0, 0, 0),  # current' = symbol
            (-1, 0, 0, 0),  # rose' = symbol - current
            (1, 0, 0, 0),  # fell' = current - symbol
            (0, 0, 0, 1),  # 1' = 1
        ),
        output=(0, -2, -2, 1),
    )


def _written(
    first: Sequence[float], symbol: Sequence[float], state: Sequence[Sequence[float]], output: Sequence[float]
) -> Detector:
    """The detector with these weights: the first state [H], W [H], U [H, H], v [H]; b is zero, for what is constant is
    a unit of the state."""
    detector = Detector(len(first))
    values = {
        "recurrence.first": [[first]],
        "recurrence.kernel.weight_ih_l0": [[each] for each in symbol],
        "recurrence.kernel.weight_hh_l0": state,
        "output.weight": [output],
    }
    zeros = {name: torch.zeros_like(each) for name, each in detector.state_dict().items()}
    detector.load_state_dict(zeros | {name: torch.tensor(each, dtype=torch.float) for name, each in values.items()})
    return detector


Rule = Callable[[int, int], bool]
LONGEST = 12

RULES: dict[str, tuple[Callable[[], Detector], Rule]] = {
    "two ones": (two_ones, lambda before, now: before == now == 1),
    "same as before": (same_as_before, lambda before, now: before == now),
}


def targets(rule: Rule, symbols: torch.Tensor) -> torch.Tensor:
    """The targets [B, T] of strings [B, T]; 0 at the first symbol."""
    rows = [[0, *(int(rule(*pair)) for pair in pairwise(row))] for row in symbols.tolist()]
    return torch.tensor(rows, dtype=torch.float)


def all_strings(longest: int = LONGEST) -> Iterator[torch.Tensor]:
    """All binary strings, [2 ** T, T] of each length T."""
    for length in range(1, longest + 1):
        yield torch.tensor(list(product((0, 1), repeat=length)))


def learn(rule: Rule, width: int = 8, steps: int = 600, seed: int = 0) -> Detector:
    """Train a detector from random weights with Adam, on random strings of length `LONGEST`."""
    torch.manual_seed(seed)
    detector = Detector(width)
    strings = (torch.randint(0, 2, (64, LONGEST)) for _ in range(steps))
    optimizer = torch.optim.Adam(detector.parameters(), 1e-2)
    fit_small(strings, lambda each: F.mse_loss(detector.score(each), targets(rule, each)), optimizer)
    return detector


@torch.no_grad()
def compare(detector: Detector, rule: Rule) -> tuple[int, float]:
    """On all strings: the number of wrong outputs, and the largest distance of an output from its target."""
    wrong, furthest = 0, 0.0
    for symbols in all_strings():
        outputs, right = detector(symbols), targets(rule, symbols)
        wrong += int(((outputs > 0.5) != (right > 0.5)).sum())
        furthest = max(furthest, float((outputs - right).abs().max()))
    return wrong, furthest


def main(argv: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(description="Networks with weights set by hand, and trained ones.").parse_args(argv)
    count = sum(symbols.numel() for symbols in all_strings())
    print(f"all {sum(len(symbols) for symbols in all_strings()):,} binary strings of 1 to {LONGEST}, {count:,} symbols")
    for name, (make, rule) in RULES.items():
        for how, detector in (("made by hand", make()), ("trained", learn(rule))):
            wrong, furthest = compare(detector, rule)
            size = detector.recurrence.hidden_size
            print(f"{name:<16}{how:<14}{size} units: {wrong} wrong, off by {furthest:.2g} at most")
    return 0


if __name__ == "__main__":
    main()

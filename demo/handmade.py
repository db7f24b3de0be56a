"""Two recurrent networks made by hand, and their twins that learnt the same from examples: on all strings of 1 to 12.

python demo/handmade.py
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product

import torch
import torch.nn.functional as F

from vlrnn.nn.handmade import Detector, same_as_before, two_ones

Rule = Callable[[int, int], bool]
LONGEST = 12

RULES: dict[str, tuple[Callable[[], Detector], Rule]] = {
    "two ones": (two_ones, lambda before, now: before == now == 1),
    "same as before": (same_as_before, lambda before, now: before == now),
}


def told(rule: Rule, symbols: torch.Tensor) -> torch.Tensor:
    """What is right to say of strings [B, T], symbol by symbol; of the first nothing is ever true."""
    rows = [[0, *(int(rule(*pair)) for pair in pairwise(row))] for row in symbols.tolist()]
    return torch.tensor(rows, dtype=torch.float)


def all_strings(longest: int = LONGEST) -> Iterator[torch.Tensor]:
    """All binary strings, [2 ** T, T] of each length T."""
    for length in range(1, longest + 1):
        yield torch.tensor(list(product((0, 1), repeat=length)))


def learn(rule: Rule, width: int = 8, steps: int = 600, seed: int = 0) -> Detector:
    """A detector whose weights are drawn, and then moved by Adam on random strings as long as the longest."""
    torch.manual_seed(seed)
    detector = Detector(width)
    optimizer = torch.optim.Adam(detector.parameters(), 1e-2)
    for _ in range(steps):
        symbols = torch.randint(0, 2, (64, LONGEST))
        loss = F.mse_loss(detector.score(symbols), told(rule, symbols))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return detector


@torch.no_grad()
def compare(detector: Detector, rule: Rule) -> tuple[int, float]:
    """On all strings: how many symbols are answered wrongly, and how far what is said is from 0 or 1 at most."""
    wrong, furthest = 0, 0.0
    for symbols in all_strings():
        said, right = detector(symbols), told(rule, symbols)
        wrong += int(((said > 0.5) != (right > 0.5)).sum())
        furthest = max(furthest, float((said - right).abs().max()))
    return wrong, furthest


def main(argv: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(description="Networks made by hand, and their twins that learnt.").parse_args(argv)
    count = sum(symbols.numel() for symbols in all_strings())
    print(f"all {sum(len(symbols) for symbols in all_strings()):,} binary strings of 1 to {LONGEST}, {count:,} symbols")
    for name, (make, rule) in RULES.items():
        for how, detector in (("made by hand", make()), ("learnt", learn(rule))):
            wrong, furthest = compare(detector, rule)
            size = detector.recurrence.hidden_size
            print(f"{name:<16}{how:<14}{size} units: {wrong} wrong, off by {furthest:.2g} at most")
    return 0


if __name__ == "__main__":
    main()

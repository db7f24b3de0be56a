"""Tasks that ask for nothing but memory: what was heard at the beginning is wanted at the end.

Knows no recurrence. Shapes: B rows, T steps, I numbers heard at a step, O numbers wanted.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Asked(NamedTuple):
    """Rows of a task: what is heard `inputs` [B, T, I], and what is wanted of the last steps, `targets` [B, ...]."""

    inputs: Tensor
    targets: Tensor


class MemoryTask:
    """The interface. A row of length N holds back for N steps, or has what counts among N.

    Attributes:
        inputs, outputs: I and O.
        measure: what `error` is.
        chance: the error of an answer that hangs on nothing that was heard.
        solved: the error below which it is remembered.
    """

    inputs: int
    outputs: int
    measure: str
    chance: float
    solved: float

    def draw(self, rows: int, length: int, generator: torch.Generator) -> Asked:
        """Rows of a length."""
        raise NotImplementedError

    def loss(self, said: Tensor, targets: Tensor) -> Tensor:
        """What is minimised, of all that is said [B, T, O]."""
        raise NotImplementedError

    def error(self, said: Tensor, targets: Tensor) -> float:
        """How wrong that is."""
        raise NotImplementedError


class Copying(MemoryTask):
    """Some symbols; N steps of nothing; a sign; and the symbols again (Hochreiter and Schmidhuber 1997, section 5; in
    this form Arjovsky, Shah, Bengio 2016, section 5.1).

    Args:
        symbols: how many there are.
        items: how many are to be kept.
    """

    measure = "share of symbols wrong"
    solved = 0.05

    def __init__(self, symbols: int = 4, items: int = 4) -> None:
        self.symbols, self.items = symbols, items
        self.inputs, self.outputs = symbols + 2, symbols  # nothing, and the sign
        self.chance = 1 - 1 / symbols

    def draw(self, rows: int, length: int, generator: torch.Generator) -> Asked:
        wanted = torch.randint(0, self.symbols, (rows, self.items), generator=generator)
        heard = torch.full((rows, 2 * self.items + length), self.symbols)
        heard[:, : self.items] = wanted
        heard[:, self.items + length] = self.symbols + 1
        return Asked(F.one_hot(heard, self.inputs).float(), wanted)

    def loss(self, said: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(said[:, -self.items :].flatten(0, 1), targets.flatten())

    def error(self, said: Tensor, targets: Tensor) -> float:
        return float((said[:, -self.items :].argmax(-1) != targets).float().mean())


class Adding(MemoryTask):
    """N numbers between 0 and 1, of which two are marked, one in each half; their sum is wanted (Hochreiter and
    Schmidhuber 1997, section 5.4)."""

    inputs, outputs = 2, 1
    measure = "mean squared error"
    chance = 1 / 6  # of saying 1, the variance of the sum
    solved = 0.01

    def draw(self, rows: int, length: int, generator: torch.Generator) -> Asked:
        numbers = torch.rand(rows, length, generator=generator)
        marks = torch.zeros(rows, length)
        half = length // 2
        for begin, end in ((0, half), (half, length)):
            marks.scatter_(1, torch.randint(begin, end, (rows, 1), generator=generator), 1.0)
        return Asked(torch.stack([numbers, marks], -1), (numbers * marks).sum(1))

    def loss(self, said: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(said[:, -1, 0], targets)

    def error(self, said: Tensor, targets: Tensor) -> float:
        return float(self.loss(said, targets))


TASKS: dict[str, MemoryTask] = {"copy": Copying(), "add": Adding()}

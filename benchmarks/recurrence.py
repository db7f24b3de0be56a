"""Recurrences: ours against the library's; all steps at once against one after the other; and what a step of decoding
costs, however much was said before it.

    python benchmarks/recurrence.py [--repeats 5] [--quick] [--out FILE]

The LSTM and the GRU read batches of captions, 64 of 20 words, 512 wide, forwards and backwards, as nn.LSTM and nn.GRU
do with the same weights. The linear recurrences read 4 texts of 512 words, 256 wide, forwards and backwards, by their
scan and by their step. Steps of decoding are of 64 rows, 512 wide, after 10 words and after many.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from side_by_side import arguments_of, begin, in_turns, keep, told
from torch import Tensor, nn

from vlrnn.nn.batching import Tree, leaves
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.rnn import GRU, LSTM
from vlrnn.nn.recurrent.spec import named_cell

CELLS = (
    "rnn",
    "gru",
    "lstm",
    "layer-norm-lstm",
    "peephole-lstm",
    "coupled-lstm",
    "min-gru",
    "min-lstm",
    "rg-lru",
    "lru",
    "mamba",
    "rwkv",
    "causal-self-attention",
)
LINEAR = CELLS[6:12]


def by_kernel(kernel: nn.RNNBase, xs: Tensor) -> Tensor:
    ys: Tensor = kernel(xs)[0]
    return ys


def by_scan(cell: Recurrence, xs: Tensor) -> Tensor:
    return cell(xs, cell.initial_state(len(xs)))[0]


def by_steps(cell: Recurrence, xs: Tensor) -> Tensor:
    state, said = cell.initial_state(len(xs)), []
    for x in xs.unbind(1):
        y, state = cell.step(x, state)
        said.append(y)
    return torch.stack(said, 1)


def there_and_back(read: Callable[[], Tensor], model: nn.Module) -> Tensor:
    """What is read, and the gradients of it."""
    model.zero_grad()
    ys = read()
    ys.square().mean().backward()
    return ys.detach()


def against_the_library(arguments: Any, rows: int, words: int, width: int) -> dict[str, Any]:
    xs, figures = torch.randn(rows, words, width), {}
    for ours, theirs in ((LSTM(width), nn.LSTM), (GRU(width), nn.GRU)):
        ours.build(width)
        other = theirs(width, width, batch_first=True)
        other.load_state_dict(ours.kernel.state_dict())
        ways = {
            f"nn.{theirs.__name__}": partial(there_and_back, partial(by_kernel, other, xs), other),
            f"vlrnn {theirs.__name__}": partial(there_and_back, partial(by_scan, ours, xs), ours),
        }
        one, another = (way() for way in ways.values())
        assert torch.equal(one, another)
        seconds = in_turns(ways, 1 if arguments.quick else 4 * arguments.repeats)
        figures[theirs.__name__] = told(f"{theirs.__name__}, {rows} rows of {words}, {width} wide", seconds)
    return figures


def scan_against_steps(arguments: Any, rows: int, words: int, width: int) -> dict[str, Any]:
    xs, figures = torch.randn(rows, words, width), {}
    for name in LINEAR:
        cell = named_cell(name, width, hidden_size=width)
        ways = {
            "one step after the other": partial(there_and_back, partial(by_steps, cell, xs), cell),
            "all at once": partial(there_and_back, partial(by_scan, cell, xs), cell),
        }
        one, another = (way() for way in ways.values())
        torch.testing.assert_close(one, another, rtol=1e-3, atol=1e-4)
        seconds = in_turns(ways, 1 if arguments.quick else arguments.repeats, warm=False)
        figures[name] = told(f"{name}, {rows} rows of {words}, {width} wide", seconds)
    return figures


@torch.inference_mode()
def steps_of_decoding(arguments: Any, rows: int, width: int, lengths: tuple[int, int]) -> dict[str, Any]:
    """A step after few words and after many; what a cell holds, and how large its state is, a row."""
    x, figures = torch.randn(rows, width), {}
    for name in CELLS:
        cell = named_cell(name, width, hidden_size=width).eval()
        states: dict[str, Tree] = {}
        state = cell.initial_state(rows)
        for word in range(1, lengths[1] + 1):
            _, state = cell.step(torch.randn(rows, width), state)
            if word in lengths:
                states[f"after {word:,} words"] = state
        ways = {told: partial(_steps, cell, x, state) for told, state in states.items()}
        seconds = in_turns(ways, 1 if arguments.quick else 4 * arguments.repeats)
        found = told(f"{name}, ten steps of {rows} rows, {width} wide", seconds)
        parameters = sum(each.numel() for each in cell.parameters())
        numbers = sum(leaf[0].numel() for leaf in leaves(cell.initial_state(1)))
        print(f"  {parameters:,} parameters; {numbers:,} numbers in the state of a row")
        figures[name] = {**found, "parameters": parameters, "state": numbers}
    return figures


def _steps(cell: Recurrence, x: Tensor, state: Tree) -> None:
    for _ in range(10):
        _, state = cell.step(x, state)


def main() -> None:
    arguments = arguments_of(__doc__).parse_args()
    begin(arguments)
    quick = arguments.quick
    figures = {
        "library": against_the_library(arguments, *((2, 3, 8) if quick else (64, 20, 512))),
        "scan": scan_against_steps(arguments, *((2, 20, 16) if quick else (4, 512, 256))),
        "decoding": steps_of_decoding(arguments, *((2, 16, (3, 6)) if quick else (64, 512, (10, 1000)))),
    }
    keep(arguments, figures)


if __name__ == "__main__":
    main()

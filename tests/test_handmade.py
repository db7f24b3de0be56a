"""Networks made by hand say what they are to say, exactly; and gradient descent finds others that do."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

DEMO = runpy.run_path(str(Path(__file__).parents[1] / "demo" / "handmade.py"))
RULES = DEMO["RULES"]
Detector, same_as_before, two_ones = DEMO["Detector"], DEMO["same_as_before"], DEMO["two_ones"]
every_rule = pytest.mark.parametrize("name", list(RULES))


def literal(name: str, string: str) -> list[float]:
    """By looking at the text."""
    pairs = {"two ones": ("11",), "same as before": ("00", "11")}[name]
    return [float(string[max(0, end - 2) : end] in pairs) for end in range(1, len(string) + 1)]


@every_rule
def test_exact_on_every_string_up_to_twelve(name: str) -> None:
    make, rule = RULES[name]
    detector, checked = make(), 0
    for symbols in DEMO["all_strings"](12):
        outputs, expected = detector(symbols).tolist(), DEMO["targets"](rule, symbols).tolist()
        for row, string in enumerate("".join(map(str, bits)) for bits in symbols.tolist()):
            assert outputs[row] == expected[row] == literal(name, string), string
            checked += 1
    assert checked == 2**13 - 2


def test_the_state_is_that_of_the_docstrings() -> None:
    symbols = torch.tensor([[1, 1, 0, 0, 1]])
    ones = two_ones().recurrence
    states, _ = ones(symbols[..., None].float(), ones.initial_state(1))
    assert states[0].tolist() == [[1, 0, 1], [1, 1, 1], [0, 1, 1], [0, 0, 1], [1, 0, 1]]
    same = same_as_before().recurrence
    states, _ = same(symbols[..., None].float(), same.initial_state(1))
    assert states[0, :, 0].tolist() == [1, 1, 0, 0, 1]
    assert states[0, 1:, 1:].tolist() == [[0, 0, 1], [0, 1, 1], [0, 0, 1], [1, 0, 1]]


@every_rule
def test_gradient_descent_finds_a_twin(name: str) -> None:
    _, rule = RULES[name]
    wrong, furthest = DEMO["compare"](DEMO["learn"](rule), rule)
    assert wrong == 0
    assert furthest < 0.5
    torch.manual_seed(0)
    unlearnt, _ = DEMO["compare"](Detector(8), rule)
    assert unlearnt > 1000


@pytest.mark.slow
def test_the_demo_tells_of_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert DEMO["main"]([]) == 0
    printed: Any = capsys.readouterr().out.splitlines()
    assert printed[0] == "all 8,190 binary strings of 1 to 12, 90,114 symbols"
    assert len(printed) == 5
    assert all("0 wrong" in line for line in printed[1:])
    assert "3 units" in printed[1]
    assert "off by 0 at most" in printed[1]
    assert "off by 0 at most" in printed[3]

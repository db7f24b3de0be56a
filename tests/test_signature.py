"""Flags from the signature of a function."""

import ast
import sys
from argparse import ArgumentParser, Namespace
from types import ModuleType
from typing import Any

import pytest

from vlrnn.commands import signature
from vlrnn.commands.signature import Signature
from vlrnn.errors import Parser, UserError
from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL

SOURCE = '''
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL

Mode = Literal["fixed", "other"]

@dataclass(frozen=True)
class Plan:
    """A plan.

    Args:
        lengths: in steps,
            100 % of them.
    """

    lengths: tuple[int, ...] = (8, 16)

def study(source: str | Path, rest: Sequence[str] = (), /, *, plan: Plan, out: "Path", mode: Mode = "fixed",
    protocol: str = DEFAULT_PROTOCOL, seed: int = 0, short: bool = False, java: bool = True,
    names: list[str] | None = None, resamples: int = 1000):
    """What it does. More of it.

    Args:
        source: a folder.
        seed, out: of it.

    Raises:
        UserError: never.
    """
    return dict(locals())
'''


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Signature:
    """The function above, in a module of vlrnn."""
    made, tree = ModuleType("vlrnn.made"), signature._tree
    exec(SOURCE, made.__dict__ | {"__name__": "vlrnn.made"}, made.__dict__)
    monkeypatch.setitem(sys.modules, "vlrnn.made", made)
    monkeypatch.setattr(signature, "_tree", lambda name: ast.parse(SOURCE) if name == "vlrnn.made" else tree(name))
    return Signature("vlrnn.made.study")


def parser(study: Signature, **options: Any) -> ArgumentParser:
    made = Parser(prog="study")
    study.add_flags(made, skip=("resamples",), **options)
    return made


def test_flags(study: Signature) -> None:
    given = parser(study).parse_args(["scenes", "--out", "there"])
    assert study.summary == "What it does"
    assert vars(given) == {
        "source": "scenes",
        "rest": [],
        "lengths": [8, 16],
        "mode": "fixed",
        "protocol": DEFAULT_PROTOCOL,
        "seed": 0,
        "short": False,
        "java": True,
        "names": None,
        "out": given.out,
    }
    help = " ".join(parser(study).format_help().split())
    assert "--out PATH of it" in help
    assert "in steps, 100 % of them (default 8 16)" in help
    assert "of it (default 0)" in help


def test_call(study: Signature) -> None:
    words = "scenes a b --out there --lengths 3 4 --no-java --short --names x --names y --seed 5"
    given = parser(study, names={"action": "append"}).parse_args(words.split())
    found = study.call(Namespace(**vars(given), other=1))
    assert found.pop("plan").lengths == [3, 4]
    assert str(found.pop("out")) == "there"
    assert found == {
        "source": "scenes",
        "rest": ["a", "b"],
        "mode": "fixed",
        "protocol": DEFAULT_PROTOCOL,
        "seed": 5,
        "short": True,
        "java": False,
        "names": ["x", "y"],
        "resamples": 1000,
    }


@pytest.mark.parametrize(
    ("words", "complaint"),
    [("scenes", "--out"), ("scenes --out x --mode y", "invalid choice: 'y'"), ("a --out b --seed c", "invalid int")],
)
def test_mistakes(study: Signature, words: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        parser(study).parse_args(words.split())

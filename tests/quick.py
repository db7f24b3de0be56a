"""Which cases of a test `make test` runs; the others are slow."""

from collections.abc import Iterable
from typing import Any

import pytest


def quick(cases: Iterable[Any], *often: Any) -> list[Any]:
    """All cases, for `pytest.mark.parametrize`, of which those that are not `often` are marked slow."""
    cases = list(cases)
    assert all(case in cases for case in often)
    return [case if case in often else pytest.param(*_values(case), marks=pytest.mark.slow) for case in cases]


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)

"""The common form of results of probes, for tables, files and reports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from vlrnn.files import write_json

TELLING = 10
"""Most cases of a finding."""


@dataclass(frozen=True)
class Finding:
    """The result of a probe.

    Attributes:
        scores: name -> `{"value", "low", "high", "n"}`, or name of a group -> such.
        settings: inputs and parameters.
        baselines: row -> scores by the same names: chance, a blind model, the references.
        cases: examples for inspection, worst first, each with its `id`.
        details: further results, such as tables for plots.
        not_computed: score -> reason.
        notes: remarks for the reader, one line each.
    """

    scores: Mapping[str, Any]
    settings: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cases: Sequence[Mapping[str, Any]] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    not_computed: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def with_input(self, settings: Mapping[str, Any], notes: Sequence[str] = ()) -> Self:
        """The same with the settings and notes of its input ahead of its own."""
        return replace(self, settings={**settings, **self.settings}, notes=[*notes, *self.notes])

    def write(self, path: str | Path) -> None:
        """Write the finding as JSON, replacing the file atomically."""
        write_json(path, {name: getattr(self, name) for name in self.__dataclass_fields__})


def path_settings(**paths: str | Path | None) -> dict[str, str | None]:
    """Paths as text for `Finding.settings`; None where there is no file."""
    return {name: None if path is None else str(path) for name, path in paths.items()}


def constant_score(value: float, n: float = 1) -> dict[str, float | int]:
    """A score without uncertainty."""
    return {"value": value, "low": value, "high": value, "n": n}


def named_scores(tree: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The scores of nested groups, each with the names of its groups and its own."""
    if number(tree) is not None:
        yield place or ("",), tree
    elif isinstance(tree, Mapping):
        for name, each in tree.items():
            yield from named_scores(each, (*place, str(name)))


def number(score: Any) -> float | None:
    """The value of a score, which may be a plain number or one with an interval; None of anything else."""
    value = score.get("value") if isinstance(score, Mapping) else score
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

"""What probes find, in one form: for a table, for a file, for a report. Independent of probes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlrnn.files import write_json

TELLING = 10
"""How many cases a probe tells of."""


@dataclass(frozen=True)
class Finding:
    """The result of a probe.

    Attributes:
        scores: name -> `{"value", "low", "high", "n"}`, or a group's name -> such.
        settings: what it was computed from, and how.
        baselines: row -> scores by the same names: of chance, of a blind guess, of the references themselves.
        cases: the most telling items, at most `TELLING`, the worst first, each with its `id`.
        details: what else was found, tables for pictures, say.
        not_computed: score -> why it is absent.
        notes: what a reader must know, one line each.
    """

    scores: Mapping[str, Any]
    settings: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cases: Sequence[Mapping[str, Any]] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    not_computed: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def write(self, path: str | Path) -> None:
        """Write it as JSON, replacing the file whole."""
        write_json(path, {name: getattr(self, name) for name in self.__dataclass_fields__})

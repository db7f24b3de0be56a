"""What users hold on to, written down: lists of lines in `tests/contract/`, a fact each.

A difference fails the test, which names what was removed and what added. Where it is meant, the lists are written anew
and go into the same commit:

    VLRNN_CONTRACT=write python -m pytest tests/test_contract.py tests/test_quickstart.py
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parent / "contract"
DATA_KEYS = ("*per_question_type", "*: provenance")
"""Places of objects whose keys depend on data, or on how vlrnn was installed; see `folder_lines`."""

REWRITE = "VLRNN_CONTRACT=write python -m pytest tests/test_contract.py tests/test_quickstart.py"
_TYPES = {dict: "{}", list: "list", str: "text", int: "number", float: "number", bool: "bool", type(None): "null"}


def check_snapshot(name: str, lines: Iterable[str]) -> None:
    """Compare lines with those of `contract/NAME.txt`, in any order; with VLRNN_CONTRACT=write write that file."""
    path, found = FOLDER / f"{name}.txt", set(lines)
    if os.environ.get("VLRNN_CONTRACT") == "write":
        path.write_text("".join(f"{line}\n" for line in sorted(found)), "utf-8")
        return
    expected = set(path.read_text("utf-8").splitlines())
    removed = [f"- {line}" for line in sorted(expected - found)]
    added = [f"+ {line}" for line in sorted(found - expected)]
    if removed or added:
        difference = "\n".join([*removed, *added])
        printed = f"{path.name}: removed (-), added (+):\n{difference}\nIf this is meant, rewrite it: {REWRITE}"
        pytest.fail(printed, pytrace=False)


def folder_lines(folder: Path, name: str, data_keys: Sequence[str] = (), names_only: Sequence[str] = ()) -> list[str]:
    """The files below a folder as lines: their paths, the keys of JSON, the columns of CSV, the top level of YAML.
    Hidden files are left out.

    Args:
        folder: the folder.
        name: its name in the lines.
        data_keys: patterns of places, `FILE: KEY.KEY`, of objects whose keys are words or ids: these become `*`.
            `DATA_KEYS` are among them.
        names_only: patterns of files that are listed by their names alone.
    """
    lines = []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if path.is_dir() or any(part.startswith(".") for part in inside.parts):
            continue
        file = f"{name}/{inside.as_posix()}"
        lines.append(file)
        if _fits(file, names_only):
            continue
        if path.suffix in (".json", ".jsonl"):
            lines += _json_lines(path, file, [*DATA_KEYS, *data_keys])
        elif path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as rows:
                lines += [f"{file}: {column}" for column in next(csv.reader(rows))]
        elif path.suffix == ".yaml":
            lines += [f"{file}: {key}" for key in yaml.safe_load(path.read_text("utf-8"))]
    return lines


def _json_lines(path: Path, file: str, data_keys: Sequence[str]) -> list[str]:
    """A line `FILE: KEY.KEY[].KEY type` for each place in a JSON file, or in the lines of a `.jsonl` file."""
    text = path.read_text("utf-8")
    values = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]
    types: dict[str, set[str]] = {}
    for value in values:
        for place, kind in _leaves(value, f"{file}: ", data_keys):
            types.setdefault(place, set()).add(kind)
    return [f"{place} {'|'.join(sorted(kinds))}" for place, kinds in types.items()]


def _leaves(value: Any, place: str, data_keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The places and types of all values within a value but objects; of a score, `{"value", ...}`, its keys."""
    if isinstance(value, dict) and "value" in value and all(isinstance(each, (int, float)) for each in value.values()):
        yield place, f"{{{' '.join(sorted(value))}}}"
    elif isinstance(value, dict) and value:
        is_data = _fits(place, data_keys)
        dot = "" if place.endswith(": ") else "."
        for key, each in value.items():
            yield from _leaves(each, f"{place}{dot}{'*' if is_data else key}", data_keys)
    else:
        yield place, _TYPES[type(value)]
        for each in value if isinstance(value, list) else ():
            yield from _leaves(each, f"{place}[]", data_keys)


def _fits(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)

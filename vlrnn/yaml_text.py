"""Reading YAML with errors that name file and line, and limits on nesting and aliases."""

from pathlib import Path
from typing import Any

import yaml

from vlrnn.errors import UserError
from vlrnn.files import DEEPEST, read_text

_MOST_COPIES = 100_000  # values after expansion of aliases
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: str | Path) -> Any:
    """The value of a YAML file of plain data.

    Raises:
        UserError: the file cannot be read, holds no YAML, or as of `check_yaml`; names file and line.
    """
    text = read_text(path)
    try:
        check_yaml(text, str(path))
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as fault:
        line = f":{fault.problem_mark.line + 1}" if fault.problem_mark else ""
        raise UserError(f"{path}{line}: not YAML: {fault.problem}") from None
    except (yaml.YAMLError, ValueError) as fault:  # ValueError: an invalid date or number
        raise UserError(f"{path}: not YAML: {' '.join(str(fault).split())}") from None


def check_yaml(text: str, place: str) -> None:
    """Check, without building values, that YAML is nested at most 100 levels deep and that its aliases expand to up to
    100,000 values: aliases of aliases multiply ("billion laughs").

    Raises:
        UserError: it exceeds a limit.
        yaml.YAMLError: it is no YAML.
    """
    sizes: dict[str | None, int] = {}  # anchor -> number of values, aliases expanded
    nodes: list[tuple[str | None, int]] = []  # open nodes: anchor, number of values before it
    values = copies = 0
    for event in yaml.parse(text, Loader=_Loader):
        values += 1
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            nodes.append((event.anchor, values))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            anchor, before = nodes.pop()
            if anchor is not None:
                sizes[anchor] = values - before
        elif isinstance(event, yaml.ScalarEvent) and event.anchor is not None:
            sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in nodes):
                raise UserError(f"{place}: &{event.anchor} contains itself; write it out")
            values += sizes.get(event.anchor, 0)
            copies += sizes.get(event.anchor, 0)
        if len(nodes) > DEEPEST:
            raise UserError(f"{place}: nested too deeply")
        if copies > _MOST_COPIES:
            raise UserError(f"{place}: its aliases expand to more than {_MOST_COPIES:,} values; write them out")

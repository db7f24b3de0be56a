"""What a study's folder is for: a study that is called again goes on, and no other is mixed with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlrnn.errors import UserError
from vlrnn.files import read_json, write_json


def keep_plan(out: Path, plan: Mapping[str, Any]) -> None:
    """Note the plan in the folder, `plan.json`, or see that it is the one there.

    Raises:
        UserError: it is another; names what differs.
    """
    path = out / "plan.json"
    if path.exists():
        kept = read_json(path)
        other = kept if isinstance(kept, dict) else {}
        differing = [name for name in {**other, **plan} if other.get(name) != plan.get(name)]
        if differing:
            raise UserError(f"{path}: holds another plan ({', '.join(differing)}); choose another --out, or remove it")
    write_json(path, dict(plan))

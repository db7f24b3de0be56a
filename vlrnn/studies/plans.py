"""What a study's folder is for: a study that is called again goes on, and no other is mixed with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlrnn.errors import UserError
from vlrnn.files import aside, move_aside, read_json, write_json
from vlrnn.progress import say
from vlrnn.tasks.run_start import OVERWRITE, contents


def keep_plan(out: Path, plan: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Note the plan in the folder, `plan.json`, or see that it is the one there.

    Args:
        out: the folder.
        plan: as JSON has it.
        overwrite: move what is there aside first, whatever its plan.

    Raises:
        UserError: it is another, and names what differs; or the folder holds results and no plan.
    """
    path = out / "plan.json"
    if path.exists() or contents(out):
        if overwrite:
            say(f"{out}: what was there is in {move_aside(out)} now")
        else:
            _see_that_it_is_the_one(out, path, plan)
    write_json(path, dict(plan))


def _see_that_it_is_the_one(out: Path, path: Path, plan: Mapping[str, Any]) -> None:
    kept = read_json(path) if path.exists() else None
    other = kept if isinstance(kept, dict) else {}
    differing = [name for name in {**other, **plan} if other.get(name) != plan.get(name)]
    if kept is None or differing:
        held = f"another plan ({', '.join(differing)})" if kept else f"{contents(out)}, and no plan"
        raise UserError(
            f"{path if kept else out}: holds {held}; choose another --out, or {OVERWRITE.format(aside(out))}"
        )

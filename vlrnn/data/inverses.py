"""Questions of synthetic scenes whose answers follow from another's: what lies left of something has that on its
right."""

import re
from collections.abc import Iterable
from dataclasses import replace

from vlrnn.data.scenes import INVERSE
from vlrnn.records import Example

_RELATION = re.compile(r"is the (?P<one>.+?) (?P<name>left|right|above|below)(?P<of> of|) the (?P<other>.+)")
_OPPOSITE = {"yes": "no", "no": "yes"}


def with_inverses(examples: Iterable[Example]) -> list[Example]:
    """The questions after relations, each with two that follow from it: the inverse relation, whose answer is the
    opposite, and the inverse relation of the two objects the other way round, whose answer is the same.

    `attributes` of these name the first by `opposite_of` and `same_as`.
    """
    found: list[Example] = []
    for example in examples:
        asked = _RELATION.fullmatch(example.question or "")
        if asked is None or not set(example.answers) <= _OPPOSITE.keys():
            continue
        inverse = INVERSE[asked["name"]] + (" of" if INVERSE[asked["name"]] in ("left", "right") else "")
        found += [
            example,
            replace(
                example,
                id=f"{example.id}-opposite",
                question=f"is the {asked['one']} {inverse} the {asked['other']}",
                answers=tuple(_OPPOSITE[answer] for answer in example.answers),
                attributes={**(example.attributes or {}), "opposite_of": example.id},
            ),
            replace(
                example,
                id=f"{example.id}-same",
                question=f"is the {asked['other']} {inverse} the {asked['one']}",
                attributes={**(example.attributes or {}), "same_as": example.id},
            ),
        ]
    return found

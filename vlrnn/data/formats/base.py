"""What readers of formats share: the names of splits, and a report of skipped items."""

from collections.abc import Mapping, Sequence

from vlrnn.data.records import Example, Id, as_id

Splits = dict[str, list[Example]]
"""Split name -> its examples."""

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What others call the splits -> what we call them; `restval`, the rest of COCO's val, is trained on."""

_NAMED = 5  # how many of the dropped are told by name


class SkipReport:
    """What was left out of a data set, by reason."""

    def __init__(self) -> None:
        self._items: dict[str, list[str]] = {}

    def add(self, reason: str, item: Id) -> None:
        """Note that an item, by its name, is left out."""
        self._items.setdefault(reason, []).append(str(item))

    def counts(self) -> dict[str, int]:
        """Reason -> how many."""
        return {reason: len(items) for reason, items in self._items.items()}

    def lines(self) -> list[str]:
        """A line for each reason, with how many and the names of the first few."""
        return [f"dropped {len(items):,}: {reason} ({_some(items)})" for reason, items in self._items.items()]


def _some(items: Sequence[str]) -> str:
    return ", ".join([*items[:_NAMED], "..."] if len(items) > _NAMED else items)


class References(dict[Id, list[str]]):
    """Image id -> its reference captions, at least one. `files` are the images' files, where they are known; `notes`
    say, one line each, what was left out."""

    def __init__(
        self, captions: Mapping[Id, list[str]], files: Mapping[Id, str] | None = None, notes: Sequence[str] = ()
    ) -> None:
        super().__init__(captions)
        self.files = {id: file for id, file in (files or {}).items() if id in self}
        self.notes = list(notes)

    def as_lists(self) -> "References":
        """With ids as those of lists are read: numbers wherever they can be."""
        files = {as_id(str(id)): file for id, file in self.files.items()}
        return References({as_id(str(id)): captions for id, captions in self.items()}, files, self.notes)

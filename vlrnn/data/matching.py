"""Matching of predictions with references, by ids or by the names of image files."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from vlrnn.data.records import Id, Prediction
from vlrnn.errors import UserError

MISSING = ("error", "skip", "empty")
Missing = Literal["error", "skip", "empty"]

Reference = TypeVar("Reference")

GO_ON = "--missing skip or --missing empty continues without them"
"""Hint in errors about ids that do not match, for commands with that flag."""

ID, FILE_NAME, NUMBER = "id", "file name", "number"
"""The rules of matching, in order of precedence."""

_NAMES = {"image_id": "image ids", "id": "question ids"}
_COCO = re.compile(r"COCO_.+_([0-9]{12})")
_FOLDERS = 8  # innermost folders of a path that are compared for files of one name


@dataclass(frozen=True)
class Matched(Generic[Reference]):
    """Predictions and references of the same images, or questions, in the order of the references. `notes`: a line for
    each correction; `counts`: number of missing, unknown and duplicate ids; `rules`: number of predictions that were
    matched by each rule."""

    predictions: dict[Id, Prediction]
    references: dict[Id, Reference]
    counts: dict[str, int]
    notes: list[str] = field(default_factory=list)
    rules: dict[str, int] = field(default_factory=dict)

    @property
    def texts(self) -> dict[Id, str]:
        """The predicted texts, by id."""
        return {id: prediction.text for id, prediction in self.predictions.items()}


def match(
    predictions: Sequence[Prediction],
    references: Mapping[Id, Reference],
    missing: Missing = "error",
    place: str = "predictions",
    by: Literal["image_id", "id"] = "image_id",
    hint: str = "there must be one for each",
    files: Mapping[Id, str] | None = None,
) -> Matched[Reference]:
    """Match predictions with references.

    A prediction is matched with the reference of the same id, as text or as a number. If there is none, a prediction of
    an image is matched by file name, or by the stem of the file name; of several files of one name, with the one whose
    innermost folders agree. If there is none either, by number, where the stem is all digits or `COCO_*_NNNNNNNNNNNN`.
    Every rule but the equal id adds a note.

    Args:
        predictions: of a file.
        references: id -> captions of an image, or a question with its answers.
        missing: treatment of missing, unknown and duplicate ids. `error`: an error; `skip`: only references with a
            prediction are scored; `empty`: a missing prediction is scored as an empty text. With `skip` and `empty`,
            unknown predictions are left out and the first of duplicates is used.
        place: the predictions' file, for errors and notes.
        by: the field of a prediction that is the references' id.
        hint: for the error about ids that do not match.
        files: reference id -> image file, if available; otherwise an id that is text counts as file name.

    Raises:
        UserError: ids do not match and `missing` is `error`; no id matches; a prediction matches two references; or two
            predictions with different names match one.
    """
    ids: list[Id] = [getattr(prediction, by) for prediction in predictions]
    found, rules, notes = _translation(ids, references, place, by, files or {})
    ids = [found.get(id, id) for id in ids]
    first: dict[Id, Prediction] = {}
    for id, prediction in zip(ids, predictions, strict=True):
        first.setdefault(id, prediction)
    troubles: dict[str, list[Id]] = {
        "missing": [id for id in references if id not in first],
        "unknown": [id for id in first if id not in references],
        "doubled": [id for id, count in Counter(ids).items() if count > 1],
    }
    if len(troubles["unknown"]) == len(first):
        raise UserError(
            f"{place}: none of its {len(first)} {_NAMES[by]} matches the references: "
            f"{name_some(troubles['unknown'])}; the references have {name_some([*references]) or 'none'}"
        )
    lines = [f"{len(those)} ids {trouble}: {name_some(those)}" for trouble, those in troubles.items() if those]
    if lines and missing == "error":
        raise UserError(f"{place}: {'; '.join(lines)} ({hint})")
    notes += [f"{place}: {each}" for each in lines]
    retained = {id: reference for id, reference in references.items() if id in first or missing == "empty"}
    nothing = {id: Prediction(id=id, image_id=id, text="") for id in troubles["missing"] if id in retained}
    counts = {trouble: len(those) for trouble, those in troubles.items()}
    return Matched({id: first.get(id) or nothing[id] for id in retained}, retained, counts, notes, rules)


def in_common(
    first: Matched[Reference], second: Matched[Reference], items: str
) -> tuple[Matched[Reference], Matched[Reference]]:
    """Two systems, restricted to their common ids; `items` is the name of these in a note."""
    ids = [id for id in first.references if id in second.references]
    references = {id: first.references[id] for id in ids}
    one, two = (
        Matched({id: each.predictions[id] for id in ids}, references, each.counts, each.notes, each.rules)
        for each in (first, second)
    )
    if len(ids) < max(len(first.references), len(second.references)):
        one.notes.append(f"only the {len(ids)} {items} are scored")
    return one, two


class _Index:
    """References by the id as text, by file name and by number; the last two only if ids are of images (`files`)."""

    def __init__(self, references: Iterable[Id], files: Mapping[Id, str], of_images: bool) -> None:
        self._of_images = of_images
        self._found: dict[tuple[str, str], list[Id]] = defaultdict(list)
        for id in references:
            self._found["id", str(id)].append(id)
            file = files.get(id, id) if of_images else id
            if of_images and isinstance(file, str):
                for kind, name in (("name", _name(file)), ("stem", _stem(file))):
                    for tail in _tails(file, name):
                        self._found[kind, tail].append(id)
            if number := _number(id) or _number(file):
                self._found["number", number].append(id)

    def find(self, id: Id) -> tuple[str, list[Id]]:
        """The first rule that finds references, and these."""
        if those := self._found.get(("id", str(id))):
            return ID, those
        if self._of_images and isinstance(id, str):
            for kind, spelling in (("name", _name(id)), ("stem", _name(id)), ("stem", _stem(id))):
                for tail in _tails(id, spelling):
                    if those := self._found.get((kind, tail)):
                        return FILE_NAME, those
        return NUMBER, self._found.get(("number", _number(id) or ""), [])


def _translation(
    ids: Sequence[Id], references: Mapping[Id, Reference], place: str, by: str, files: Mapping[Id, str]
) -> tuple[dict[Id, Id], dict[str, int], list[str]]:
    """Id of a prediction -> a different id of its reference; the number of ids matched by each rule; and notes."""
    strangers = [id for id in dict.fromkeys(ids) if id not in references]
    owner: dict[Id, Id] = {id: id for id in ids if id in references}
    exact = len(owner)
    index = _Index(references if strangers else (), files, by == "image_id")
    translate: dict[Id, Id] = {}
    found: dict[str, list[Id]] = {ID: [], FILE_NAME: [], NUMBER: []}
    for id in strangers:
        rule, those = index.find(id)
        if len(those) > 1:
            raise UserError(
                f"{place}: {id!r} matches {len(those)} of the references by its {rule}: {name_some(those)}; "
                "give predictions the references' ids"
            )
        if those:
            translate[id] = those[0]
            found[rule].append(id)
            other = owner.setdefault(those[0], id)
            if str(other) != str(id):
                raise UserError(
                    f"{place}: {other!r} and {id!r} both match {those[0]!r} of the references, {id!r} by its {rule}; "
                    "leave one out, or give predictions the references' ids"
                )
    notes = [_rule_note(place, rule, those[0], translate, files, len(those)) for rule, those in found.items() if those]
    rules = {rule: len(those) + (exact if rule == ID else 0) for rule, those in found.items()}
    return translate, {rule: count for rule, count in rules.items() if count}, notes


def _rule_note(place: str, rule: str, id: Id, translate: Mapping[Id, Id], files: Mapping[Id, str], count: int) -> str:
    """A note on a rule, with the first id that it matched."""
    how = "in another form" if rule == ID else f"by {rule}"
    file = files.get(translate[id]) if rule == FILE_NAME else None
    line = f"{place}: {count} ids matched {how}: {id!r} as {translate[id]!r}"
    return f"{line}, whose file is {file}" if file else line


def _parts(file: str) -> list[str]:
    """Folders and name of a file, normalised: Unicode NFC, backslashes as slashes."""
    return unicodedata.normalize("NFC", file).replace("\\", "/").rsplit("/", _FOLDERS)


def _name(file: str) -> str:
    return _parts(file)[-1]


def _stem(file: str) -> str:
    stem, dot, suffix = _name(file).rpartition(".")
    return stem if stem and not suffix.isdigit() else stem + dot + suffix  # the 5 of `12.5` is no suffix


def _tails(file: str, name: str) -> list[str]:
    """A name with all of its folders, without the outermost one, ..., without any."""
    parts = [*_parts(file)[:-1], name]
    return ["/".join(parts[first:]) for first in range(len(parts))]


def _number(id: Id) -> str | None:
    """The number of an id without leading zeros: the id itself, or its stem if that is all digits, or the end of a file
    name of COCO; None if there is none."""
    stem = str(id) if isinstance(id, int) else _stem(id)
    coco = _COCO.fullmatch(stem)
    digits = coco[1] if coco else stem
    return (digits.lstrip("0") or "0") if digits.isdecimal() and digits.isascii() else None


def name_some(ids: Sequence[Id], most: int = 3) -> str:
    """The first few ids, for an error."""
    return ", ".join(map(repr, ids[:most])) + (", ..." if len(ids) > most else "")

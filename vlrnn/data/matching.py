"""Predictions and references brought together by their ids, or else by the names of the images' files."""

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

GO_ON = "--missing skip or --missing empty goes on without them"
"""What to do about ids that do not match, where there is that option."""

ID, FILE_NAME, NUMBER = "id", "file name", "number"
"""The rules of matching, the first that applies counts."""

_NAMES = {"image_id": "image ids", "id": "question ids"}
_COCO = re.compile(r"COCO_.+_([0-9]{12})")
_FOLDERS = 8  # so many of a path's, the innermost, tell files of one name apart


@dataclass(frozen=True)
class Matched(Generic[Reference]):
    """Predictions and references of the same images, or questions, in the order of the references. `notes` say, one
    line each, what was put right on the way; `counts` how many ids were missing, unknown or doubled; `rules` how many
    predictions each rule of matching found the reference of."""

    predictions: dict[Id, Prediction]
    references: dict[Id, Reference]
    counts: dict[str, int]
    notes: list[str] = field(default_factory=list)
    rules: dict[str, int] = field(default_factory=dict)


def match(
    predictions: Sequence[Prediction],
    references: Mapping[Id, Reference],
    missing: Missing = "error",
    place: str = "predictions",
    by: Literal["image_id", "id"] = "image_id",
    hint: str = "there must be one for each",
    files: Mapping[Id, str] | None = None,
) -> Matched[Reference]:
    """Bring predictions and references together.

    A prediction belongs to the reference of the same id, be it written as text or as a number. Where there is none, and
    the prediction is of an image: to the reference whose file has its file name, or else its stem; of several files of
    one name it is the one whose folders agree with the prediction's, from the name up. Where there is none either: to
    the reference of the same number, if the stem is all digits or `COCO_*_NNNNNNNNNNNN`. The notes tell of every rule
    but the equal id.

    Args:
        predictions: what was predicted.
        references: id -> what is right: captions of an image, or a question with its answers.
        missing: what becomes of ids that are missing, unknown or doubled. `error` refuses; `skip` scores what has a
            prediction; `empty` scores a missing one as an empty text. Under both, unknown predictions are left out and
            the first of doubled ones counts.
        place: the predictions' file, for errors and notes.
        by: the field of a prediction that is the references' id.
        hint: what to do about ids that do not match, for the error.
        files: the references' ids -> image files, where they are known; else an id that is text counts as one.

    Raises:
        UserError: ids do not match and `missing` is `error`; none of them does; a prediction matches two references;
            or two predictions of different names match one.
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
            f"{place}: none of its {len(first)} {_NAMES[by]} is among the references: "
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
    """Both, restricted to what both have; `items` says in a note what that is."""
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
    """References by everything but the very id: its spelling, file name and number. `of_images` says whether ids are
    of images, which have files."""

    def __init__(self, references: Iterable[Id], files: Mapping[Id, str], of_images: bool) -> None:
        self._of_images = of_images
        self._spelled: dict[str, list[Id]] = defaultdict(list)
        self._names: dict[str, list[Id]] = defaultdict(list)
        self._stems: dict[str, list[Id]] = defaultdict(list)
        self._numbers: dict[str, list[Id]] = defaultdict(list)
        for id in references:
            self._spelled[str(id)].append(id)
            file = files.get(id, id) if of_images else id
            if of_images and isinstance(file, str):
                for table, name in ((self._names, _name(file)), (self._stems, _stem(file))):
                    for tail in _tails(file, name):
                        table[tail].append(id)
            if number := _number(id) or _number(file):
                self._numbers[number].append(id)

    def find(self, id: Id) -> tuple[str, list[Id]]:
        """The first rule that finds references, and what it finds."""
        if those := self._spelled.get(str(id)):
            return ID, those
        if self._of_images and isinstance(id, str):
            name, stem = _name(id), _stem(id)
            for table, spelling in ((self._names, name), (self._stems, name), (self._stems, stem)):
                for tail in _tails(id, spelling):
                    if those := table.get(tail):
                        return FILE_NAME, those
        number = _number(id)
        return NUMBER, self._numbers.get(number, []) if number else []


def _translation(
    ids: Sequence[Id], references: Mapping[Id, Reference], place: str, by: str, files: Mapping[Id, str]
) -> tuple[dict[Id, Id], dict[str, int], list[str]]:
    """The references' ids of predictions that have others; how many ids each rule found; and notes on the rules."""
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
    """A note on a rule, by the first id that it found."""
    how = "though written otherwise" if rule == ID else f"by {rule}"
    file = files.get(translate[id]) if rule == FILE_NAME else None
    return f"{place}: {count} ids matched {how}: {id!r} as {translate[id]!r}" + (
        f", whose file is {file}" if file else ""
    )


def _parts(file: str) -> list[str]:
    """The folders and the name of a file in one spelling: characters composed, backslashes as slashes."""
    return unicodedata.normalize("NFC", file).replace("\\", "/").rsplit("/", _FOLDERS)


def _name(file: str) -> str:
    return _parts(file)[-1]


def _stem(file: str) -> str:
    stem, dot, suffix = _name(file).rpartition(".")
    return stem if stem and not suffix.isdigit() else stem + dot + suffix  # the 5 of `12.5` is no kind of file


def _tails(file: str, name: str) -> list[str]:
    """A name with the folders that it is in: with all, with all but the outermost, ..., with none."""
    parts = [*_parts(file)[:-1], name]
    return ["/".join(parts[first:]) for first in range(len(parts))]


def _number(id: Id) -> str | None:
    """The number that an id is, or that its stem is or, as those of COCO do, ends with; without leading zeros."""
    stem = str(id) if isinstance(id, int) else _stem(id)
    coco = _COCO.fullmatch(stem)
    digits = coco[1] if coco else stem
    return (digits.lstrip("0") or "0") if digits.isdecimal() and digits.isascii() else None


def name_some(ids: Sequence[Id], most: int = 3) -> str:
    """The first of some ids, for an error."""
    return ", ".join(map(repr, ids[:most])) + (", ..." if len(ids) > most else "")

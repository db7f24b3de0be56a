"""Predictions and references brought together by their ids."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from vlrnn.errors import UserError
from vlrnn.records import Id, Prediction

MISSING = ("error", "skip", "empty")
Missing = Literal["error", "skip", "empty"]

Reference = TypeVar("Reference")

GO_ON = "--missing skip or --missing empty goes on without them"
"""What to do about ids that do not match, where there is that option."""

_NAMES = {"image_id": "image ids", "id": "question ids"}


@dataclass(frozen=True)
class Matched(Generic[Reference]):
    """Predictions and references of the same images, or questions, in the order of the references. `notes` say, one
    line each, what was put right on the way; `counts` how many ids were missing, unknown or doubled."""

    predictions: dict[Id, Prediction]
    references: dict[Id, Reference]
    counts: dict[str, int]
    notes: list[str] = field(default_factory=list)


def match(
    predictions: Sequence[Prediction],
    references: Mapping[Id, Reference],
    missing: Missing = "error",
    place: str = "predictions",
    by: Literal["image_id", "id"] = "image_id",
    mend: str = "there must be one for each",
) -> Matched[Reference]:
    """Bring predictions and references together.

    Args:
        predictions: what was predicted.
        references: id -> what is right: captions of an image, or a question with its answers.
        missing: what becomes of ids that are missing, unknown or doubled. `error` refuses; `skip` scores what has a
            prediction; `empty` scores a missing one as an empty text. Under both, unknown predictions are left out and
            the first of doubled ones counts.
        place: the predictions' file, for errors and notes.
        by: the field of a prediction that is the references' id.
        mend: what to do about ids that do not match, for the error.

    Raises:
        UserError: ids do not match and `missing` is `error`, or none of them does.
    """
    ids: list[Id] = [getattr(prediction, by) for prediction in predictions]
    translate, notes = _translation(ids, references, place)
    ids = [translate.get(id, id) for id in ids]
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
            f"{place}: none of its {len(first)} {_NAMES[by]} is among the references: {name_some(troubles['unknown'])}"
        )
    told = [f"{len(those)} ids {trouble}: {name_some(those)}" for trouble, those in troubles.items() if those]
    if told and missing == "error":
        raise UserError(f"{place}: {'; '.join(told)} ({mend})")
    notes += [f"{place}: {each}" for each in told]
    kept = {id: reference for id, reference in references.items() if id in first or missing == "empty"}
    nothing = {id: Prediction(id=id, image_id=id, text="") for id in troubles["missing"] if id in kept}
    counts = {trouble: len(those) for trouble, those in troubles.items()}
    return Matched({id: first.get(id) or nothing[id] for id in kept}, kept, counts, notes)


def in_common(
    first: Matched[Reference], second: Matched[Reference], items: str
) -> tuple[Matched[Reference], Matched[Reference]]:
    """Both, restricted to what both have; `items` says in a note what that is."""
    ids = [id for id in first.references if id in second.references]
    references = {id: first.references[id] for id in ids}
    one, two = (
        Matched({id: each.predictions[id] for id in ids}, references, each.counts, each.notes)
        for each in (first, second)
    )
    if len(ids) < max(len(first.references), len(second.references)):
        one.notes.append(f"only the {len(ids)} {items} are scored")
    return one, two


def _translation(ids: Sequence[Id], references: Mapping[Id, Reference], place: str) -> tuple[dict[Id, Id], list[str]]:
    """The references' spelling of ids that are text in one file and numbers in the other."""
    strangers = [id for id in ids if id not in references]
    spelled = {str(id): id for id in references} if strangers else {}
    translate = {}
    for id in strangers:
        spelling = str(id)
        other = spelled.get(spelling, spelled.get(spelling.lstrip("0")) if isinstance(id, str) else None)
        if other is not None:
            translate[id] = other
    if not translate:
        return {}, []
    ours, theirs = next(iter(translate.items()))
    return translate, [f"{place}: {len(translate)} ids matched as {theirs!r} though written {ours!r}"]


def name_some(ids: Sequence[Id], most: int = 3) -> str:
    """The first of some ids, for an error."""
    return ", ".join(map(repr, ids[:most])) + (", ..." if len(ids) > most else "")

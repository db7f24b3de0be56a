"""Captions for scoring: references from COCO captions (also VizWiz), Karpathy's JSON, a dictionary or a prepared
`.jsonl`; predictions from results."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlrnn.data.formats.base import References, id_of, object_of, text_of
from vlrnn.data.formats.flickr import karpathy_image
from vlrnn.data.formats.results import ResultForm, read_results, texts_of
from vlrnn.data.record_ids import check_each_once
from vlrnn.data.records import Id, Prediction, RecordFile, ScoredExample
from vlrnn.errors import UserError
from vlrnn.files import read_json

_RESULTS = ResultForm(
    ids=("image_id", "image", "file_name"),
    texts=("caption",),
    what="caption",
    file='a COCO result file: [{"image_id": ..., "caption": ...}, ...]',
)


def read_references(path: str | Path, split: str | None = None) -> References:
    """The reference captions of each image.

    Args:
        path: a prepared `.jsonl`; a COCO `captions_*.json`, of VizWiz without rejected and canned captions, as in its
            own evaluation; Karpathy's JSON; or a dictionary image id -> captions, each a text or an object with
            `caption`, as of pycocoevalcap.
        split: of Karpathy's JSON. Ids are those of COCO if it has them, otherwise file names.

    Raises:
        UserError: the file is none of these, lacks the split, has no captions, or one that is no text; names the place.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        return _read_prepared(path)
    value = read_json(path)
    if isinstance(value, dict) and isinstance(value.get("annotations"), list):
        return _read_coco(value, path)
    if isinstance(value, dict) and isinstance(value.get("images"), list):
        return _read_karpathy(value["images"], split, path)
    if isinstance(value, dict) and value and all(isinstance(captions, list) for captions in value.values()):
        return _group(((id, texts_of(value[id], f"{path}: {id!r}", "caption")) for id in value), {}, path)
    raise UserError(
        f"{path}: no references: expected a prepared .jsonl, COCO captions (with 'annotations'), "
        "Karpathy's JSON (with 'images'), or image id -> list of captions"
    )


def read_predictions(path: str | Path) -> list[Prediction]:
    """Predicted captions, in the order of the file.

    Args:
        path: a `.jsonl` of Predictions; a file of `vlrnn caption --out`; COCO results, a list or lines of
            `{"image_id", "caption"}`; or a dictionary image id -> a list of one caption, as of pycocoevalcap.

    Raises:
        UserError: the file is none of these, is empty, or has a caption that is no text; names the place.
    """
    return read_results(path, _RESULTS)


def _group(pairs: Iterable[tuple[Id, Sequence[str]]], files: Mapping[Id, str], path: Path, *notes: str) -> References:
    references: dict[Id, list[str]] = {}
    for id, captions in pairs:
        references.setdefault(id, []).extend(captions)
    nonempty = {id: captions for id, captions in references.items() if captions}
    if not nonempty:
        raise UserError(f"{path}: holds no captions")
    check_each_once(nonempty, list(nonempty).__getitem__, str(path))
    return References(nonempty, files, notes)


def _add_file(files: dict[Id, str], id: Id, file: str, path: Path) -> None:
    if files.setdefault(id, file) != file:
        raise UserError(f"{path}: image id {id!r} occurs twice, for {files[id]} and {file}; give each image its own id")


def _read_prepared(path: Path) -> References:
    files: dict[Id, str] = {}

    def pairs() -> Iterator[tuple[Id, Sequence[str]]]:
        for example in RecordFile(path, ScoredExample):
            _add_file(files, example.image_id, example.image, path)
            yield example.image_id, example.captions

    return _group(pairs(), files, path)


def _read_coco(value: dict[str, Any], path: Path) -> References:
    # The order of `images`, not of the annotations, as in the official scorer.
    listed = value.get("images")
    pairs: list[tuple[Id, Sequence[str]]] = []
    files: dict[Id, str] = {}
    for image in listed if isinstance(listed, list) else ():
        id = image.get("id") if isinstance(image, dict) else None
        if isinstance(id, (int, str)) and not isinstance(id, bool):
            pairs.append((id, ()))
            if isinstance(image.get("file_name"), str):
                _add_file(files, id, image["file_name"], path)
    bad = 0
    for number, each in enumerate(value["annotations"]):
        place = f"{path}: annotation {number}"
        entry = object_of(each, place)
        id = id_of(entry, ("image_id",), place)
        pairs.append((id, (text_of(entry, "caption", f"{place} (image {id!r})"),)))
        if entry.get("is_rejected") or entry.get("is_precanned"):
            bad += 1
            pairs.pop()
    notes = [f"{path}: {bad} captions that VizWiz marks as rejected or canned are left out"] if bad else []
    return _group(pairs, files, path, *notes)


def _read_karpathy(images: list[Any], split: str | None, path: Path) -> References:
    splits = Counter(str(image.get("split")) for image in images if isinstance(image, dict))
    if split not in splits:
        available = ", ".join(f"{name} ({count})" for name, count in splits.items())
        problem = "needs --split" if split is None else f"has no split {split!r}"
        raise UserError(f"{path}: {problem}; it holds {available or 'none'}")
    found = [
        karpathy_image(image, f"{path}: images[{place}]")
        for place, image in enumerate(images)
        if isinstance(image, dict) and image.get("split") == split
    ]
    pairs = ((image.id, image.captions) for image in found)
    return _group(pairs, {image.id: image.path for image in found if image.path}, path)

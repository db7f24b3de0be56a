"""Captions for scoring: references from COCO captions (also VizWiz), Karpathy's JSON, a dictionary or a prepared
`.jsonl`; predictions from results."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from vlrnn.data.formats.base import References
from vlrnn.data.formats.results import ResultForm, id_of, read_results, texts_of
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


def _annotation(entry: Any, place: str) -> tuple[Id, str]:
    """Image id and caption of a COCO annotation."""
    if not isinstance(entry, dict):
        raise UserError(f'{place}: expected {{"image_id": ..., "caption": ...}}, found {type(entry).__name__}')
    id, caption = id_of(entry, ("image_id",), place), entry.get("caption")
    if not isinstance(caption, str):
        if "caption" not in entry:
            raise UserError(f"{place}: the field 'caption' is missing")
        raise UserError(f"{place} (image {id!r}): the caption is a {type(caption).__name__}, not a text")
    return id, caption


def _read_coco(value: dict[str, Any], path: Path) -> References:
    # The order of `images`, not of the annotations, as in the official scorer.
    listed = value.get("images")
    images = [image for image in listed if isinstance(image, dict)] if isinstance(listed, list) else []
    order: list[tuple[Id, Sequence[str]]] = []
    files: dict[Id, str] = {}
    for image in images:
        id = image.get("id")
        if isinstance(id, (int, str)) and not isinstance(id, bool):
            order.append((id, ()))
            if isinstance(image.get("file_name"), str):
                _add_file(files, id, image["file_name"], path)
    entries = [
        (*_annotation(each, f"{path}: annotation {place}"), each.get("is_rejected") or each.get("is_precanned"))
        for place, each in enumerate(value["annotations"])
    ]
    bad = sum(bool(left_out) for *_, left_out in entries)
    notes = [f"{path}: {bad} captions that VizWiz marks as rejected or canned are left out"] if bad else []
    pairs = [*order, *((id, (caption,)) for id, caption, left_out in entries if not left_out)]
    return _group(pairs, files, path, *notes)


def _read_karpathy(images: list[Any], split: str | None, path: Path) -> References:
    splits = Counter(str(image.get("split")) for image in images if isinstance(image, dict))
    if split not in splits:
        available = ", ".join(f"{name} ({count})" for name, count in splits.items())
        problem = "needs --split" if split is None else f"has no split {split!r}"
        raise UserError(f"{path}: {problem}; it holds {available or 'none'}")
    pairs: list[tuple[Id, Sequence[str]]] = []
    files: dict[Id, str] = {}
    for place, image in enumerate(images):
        if not isinstance(image, dict) or image.get("split") != split:
            continue
        id = image["filename"] if image.get("cocoid") is None and "filename" in image else image.get("cocoid")
        sentences = image.get("sentences")
        if not isinstance(id, (int, str)) or isinstance(id, bool) or not isinstance(sentences, list):
            raise UserError(f"{path}: image {place} lacks its 'cocoid' (or 'filename') or its 'sentences'")
        captions = [each.get("raw") if isinstance(each, dict) else None for each in sentences]
        if not all(isinstance(caption, str) for caption in captions):
            raise UserError(f"{path}: image {place} ({id!r}): a sentence has no text 'raw'")
        pairs.append((id, [str(caption) for caption in captions]))
        if isinstance(image.get("filename"), str):
            files[id] = str(PurePosixPath(str(image.get("filepath") or ""), image["filename"]))
    return _group(pairs, files, path)

"""Captions: references as COCO captions or Karpathy's JSON, predictions as COCO results, besides our own `.jsonl`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vlrnn.errors import UserError
from vlrnn.files import read_json
from vlrnn.interchange.results import read_results
from vlrnn.records import Example, Id, Prediction, RecordFile

References = dict[Id, list[str]]


def read_references(path: str | Path, split: str | None = None) -> References:
    """The reference captions of each image: image id -> captions.

    Args:
        path: a prepared `.jsonl`, a COCO `captions_*.json` or Karpathy's JSON.
        split: of Karpathy's JSON, which holds all, the split to read. Its ids are COCO's where it has them,
            else file names.

    Raises:
        UserError: the file is none of these, lacks the split, or has a caption that is no text; names the
            place.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        return _group((example.image_id, example.captions) for example in RecordFile(path, Example))
    value = read_json(path)
    if isinstance(value, dict) and isinstance(value.get("annotations"), list):
        return _read_coco(value, path)
    if isinstance(value, dict) and isinstance(value.get("images"), list):
        return _read_karpathy(value["images"], split, path)
    raise UserError(
        f"{path}: no references: expected a prepared .jsonl, COCO captions (with 'annotations'), "
        "or Karpathy's JSON (with 'images')"
    )


def read_predictions(path: str | Path) -> list[Prediction]:
    """Predicted captions, in the order of the file.

    Args:
        path: a `.jsonl` of Predictions, or a COCO result file, a list of `{"image_id", "caption"}`.

    Raises:
        UserError: the file is neither, or holds nothing, or a caption that is no text; names the place.
    """

    def read(value: list[Any]) -> Iterator[Prediction]:
        for place, entry in enumerate(value):
            id, text = _entry(entry, f"{path}: result {place}")
            yield Prediction(id=id, image_id=id, text=text)

    return read_results(path, read, 'a COCO result file: [{"image_id": ..., "caption": ...}, ...]')


def _group(pairs: Iterable[tuple[Id, Sequence[str]]]) -> References:
    references: References = {}
    for id, captions in pairs:
        references.setdefault(id, []).extend(captions)
    return {id: captions for id, captions in references.items() if captions}


def _entry(entry: Any, place: str) -> tuple[Id, str]:
    """Image id and caption of a COCO annotation or result."""
    if not isinstance(entry, dict):
        raise UserError(f'{place}: expected {{"image_id": ..., "caption": ...}}, found {type(entry).__name__}')
    for name in ("image_id", "caption"):
        if name not in entry:
            raise UserError(f"{place}: the field {name!r} is missing")
    id, caption = entry["image_id"], entry["caption"]
    if not isinstance(id, (int, str)) or isinstance(id, bool):
        raise UserError(f"{place}: 'image_id' is a {type(id).__name__}, not a number or text")
    if not isinstance(caption, str):
        raise UserError(f"{place} (image {id!r}): the caption is a {type(caption).__name__}, not a text")
    return id, caption


def _read_coco(value: dict[str, Any], path: Path) -> References:
    # The order of `images`, not of the annotations: the official scorer goes by it.
    listed = value.get("images")
    ids = (
        [image["id"] for image in listed if isinstance(image, dict) and "id" in image]
        if isinstance(listed, list)
        else []
    )
    order: list[tuple[Id, Sequence[str]]] = [(id, ()) for id in ids if isinstance(id, (int, str))]
    entries = (_entry(each, f"{path}: annotation {place}") for place, each in enumerate(value["annotations"]))
    references = _group([*order, *((id, (caption,)) for id, caption in entries)])
    if not references:
        raise UserError(f"{path}: holds no captions")
    return references


def _read_karpathy(images: list[Any], split: str | None, path: Path) -> References:
    splits = Counter(str(image.get("split")) for image in images if isinstance(image, dict))
    if split not in splits:
        there = ", ".join(f"{name} ({count})" for name, count in splits.items())
        asked = "needs --split" if split is None else f"has no split {split!r}"
        raise UserError(f"{path}: {asked}; it holds {there or 'none'}")
    pairs: list[tuple[Id, Sequence[str]]] = []
    for place, image in enumerate(images):
        if not isinstance(image, dict) or image.get("split") != split:
            continue
        id = image.get("cocoid", image.get("filename"))
        sentences = image.get("sentences")
        if not isinstance(id, (int, str)) or not isinstance(sentences, list):
            raise UserError(f"{path}: image {place} lacks its 'cocoid' (or 'filename') or its 'sentences'")
        captions = [each.get("raw") if isinstance(each, dict) else None for each in sentences]
        if not all(isinstance(caption, str) for caption in captions):
            raise UserError(f"{path}: image {place} ({id!r}): a sentence has no text 'raw'")
        pairs.append((id, [str(caption) for caption in captions]))
    return _group(pairs)

"""Tables about a folder of images: a CSV or JSON file with an image and captions, or question and answers, per row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from vlrnn.data.formats.base import SPLIT_NAMES, ImageFolder, Splits, object_of, read_csv, text_of
from vlrnn.data.records import SPLITS, Example
from vlrnn.data.splits import draw_splits
from vlrnn.errors import UserError
from vlrnn.files import read_json, read_json_lines
from vlrnn.text.vqa_normalization import canonical_answer

_OTHER_NAMES = {
    **dict.fromkeys(("file_name", "filename", "image_name"), "image"),
    **dict.fromkeys(("text", "comment"), "caption"),
}
"""Other names of columns -> ours: those of `metadata.jsonl` and `metadata.csv` of Hugging Face's image folders, and of
Kaggle's `results.csv` of Flickr30k."""


@dataclass(frozen=True)
class Entry:
    """A row of a CSV or an entry of a JSON: its place, for errors, the image, the split if it has one, and all of its
    `values` by name."""

    place: str
    image: str
    split: str | None
    values: Mapping[str, Any]

    def texts(self, name: str) -> tuple[str, ...] | None:
        """The text of this name, or the list of texts of its plural; None if there is neither.

        Raises:
            UserError: the value is no text.
        """
        value = self.values.get(f"{name}s", self.values.get(name))
        if value is None:
            return None
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise UserError(f"{self.place}: {name!r} must be a text, or {name + 's'!r} a list of texts")
        return tuple(value)


def read_table(
    path: Path, folder: ImageFolder, columns: Sequence[str], of_image: Callable[[Any], Any]
) -> Iterator[Entry]:
    """Read a file: `.json`, `.jsonl`, or a CSV (any other suffix), see `read_csv`.

    Args:
        path: the file.
        folder: of the images; names are relative to it, or to the folder of the file.
        columns: required columns of a CSV, besides `image`.
        of_image: a JSON is a list of objects with `image`, or an object image -> value; this converts such a value to a
            list of objects.

    Raises:
        UserError: the file is none of these, or has a column or a key twice; names the line or the entry.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        entries = _json_entries(path, of_image)
    elif suffix == ".jsonl":
        entries = read_json_lines(path)
    else:
        needed = ("image", *columns)
        entries = read_csv(path, needed, needed, _named)
    for place, entry in entries:
        values = object_of(entry, place)
        values = {**{other: values[name] for name, other in _OTHER_NAMES.items() if name in values}, **values}
        name, split = text_of(values, "image", place), values.get("split") or None
        image = PurePosixPath(folder.find(name, path.parent))
        if not image.name or image.is_absolute() or ".." in image.parts:
            raise UserError(f"{place}: the image {name!r} is no file within the folder of images")
        if split is not None and str(split).strip().lower() not in SPLIT_NAMES:
            raise UserError(f"{place}: the split {split!r} is none of {', '.join(SPLIT_NAMES)}")
        yield Entry(place, str(image), split and SPLIT_NAMES[split.strip().lower()], values)


def _named(columns: Sequence[str]) -> list[str]:
    """Our names of columns; another name is not replaced if ours exists as well."""
    return [name if _OTHER_NAMES.get(name, name) in columns else _OTHER_NAMES[name] for name in columns]


def _json_entries(path: Path, of_image: Callable[[Any], Any]) -> Iterator[tuple[str, Any]]:
    value = read_json(path)
    groups = {"": value}
    if isinstance(value, Mapping):
        groups = {image: of_image(content) for image, content in value.items()}
    for image, entries in groups.items():
        place = f"{path}: {image!r}" if isinstance(value, Mapping) else f"{path}"
        if not isinstance(entries, list):
            raise UserError(f"{place}: expected an object or a list, found {type(entries).__name__}")
        for number, entry in enumerate(entries):
            shared = {"image": image} if isinstance(value, Mapping) else {}
            yield f"{place}: entry {number}", {**object_of(entry, f"{place}: entry {number}"), **shared}


def read_captions(path: Path, folder: ImageFolder, shares: Sequence[float], seed: int) -> Splits:
    """The examples of a file of captions, one for each image, in the splits of the file, or in random splits.

    CSV columns: `image`, `caption`, and optionally `split`. JSON: `{"a.jpg": ["caption", ...]}`, or a list of
    `{"image": ..., "caption": ... or "captions": [...], "split": ...}`; JSON lines are such a list. `file_name` and
    `text`, as in Hugging Face's image folders, are other names of `image` and `caption`.

    Args:
        path: `.json`, `.jsonl`, or a CSV (any other suffix) whose first line names the columns.
        folder: of the images.
        shares: fractions of the images for random train, val and test splits.
        seed: of random splits.

    Raises:
        UserError: the file is neither (names the line or the entry), only some captions have a split, or the shares do
            not sum to 1.
    """
    captions: dict[tuple[str, str | None], list[str]] = {}
    for entry in read_table(path, folder, ["caption"], lambda captions: [{"captions": captions}]):
        if (caption_texts := entry.texts("caption")) is None:
            raise UserError(f"{entry.place}: needs a 'caption' or 'captions'")
        captions.setdefault((entry.image, entry.split), []).extend(caption_texts)
    homes = draw_splits(captions, shares, seed, "captions")
    splits: Splits = {split: [] for split in SPLITS}
    for (image, split), texts in captions.items():
        home = homes[image, split]
        splits[home].append(Example(id=image, image_id=image, image=image, captions=tuple(texts)))
    return splits


def read_questions(path: Path, folder: ImageFolder, shares: Sequence[float], seed: int) -> Splits:
    """The examples of a file of questions, one for each, in the splits of the file, or in random splits.

    Rows with the same question about the same image are the answers of several annotators. They are normalised as those
    of VQA, since its protocols do not normalise unanimous answers. An empty answer is left out: a test split may have
    no answers. Ids are the numbers of the questions, from 1, in the order of the file.

    CSV columns: `image`, `question`, `answer`, and optionally `split`, `question_type` and `answer_type`. JSON: a list
    of `{"image": ..., "question": ..., "answer": ... or "answers": [...], "split": ...}`, or such lists by image,
    `{"a.jpg": [{"question": ..., "answer": ...}, ...]}`.

    Args:
        path: `.json`, `.jsonl`, or a CSV (any other suffix) whose first line names the columns.
        folder: of the images.
        shares: fractions of the images for random train, val and test splits.
        seed: of random splits.

    Raises:
        UserError: the file is neither (names the line or the entry), only some questions have a split, or the shares do
            not sum to 1.
    """
    examples: dict[tuple[str, str | None, str], Example] = {}
    answers: dict[tuple[str, str | None, str], list[str]] = {}
    for entry in read_table(path, folder, ["question", "answer"], lambda questions: questions):
        given = {name: value for name, value in entry.values.items() if value is not None}
        names = [name for name in ("question", "question_type", "answer_type") if name in given]
        texts = {name: text_of(given, name, entry.place) for name in names}
        question = " ".join(texts.get("question", "").split())
        kinds: dict[str, Any] = {name: texts.get(name) or None for name in ("question_type", "answer_type")}
        key, image = (entry.image, entry.split, question), entry.image
        examples.setdefault(key, Example(len(examples) + 1, image, image, question=question, **kinds))
        answers.setdefault(key, []).extend(filter(None, map(canonical_answer, entry.texts("answer") or ())))
    homes = draw_splits([(image, split) for image, split, _ in examples], shares, seed, "questions")
    splits: Splits = {split: [] for split in SPLITS}
    for (image, split, question), example in examples.items():
        splits[homes[image, split]].append(replace(example, answers=tuple(answers[image, split, question])))
    return splits

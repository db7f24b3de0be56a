"""True and predicted attributes and tasks of images, from tables or from captions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlrnn.data.formats.base import References, read_csv
from vlrnn.data.formats.captions import read_predictions, read_references
from vlrnn.data.matching import match
from vlrnn.data.records import Id
from vlrnn.errors import UserError
from vlrnn.files import read_json, read_json_lines
from vlrnn.metrics.statistics import Floats
from vlrnn.probes.gender_words import GenderWords, find_people
from vlrnn.probes.object_annotations import read_object_sets
from vlrnn.probes.object_mentions import PhraseTable, phrases
from vlrnn.text.ptb_tokenizer import tokenize


class LabelSets(NamedTuple):
    """Attributes (such as gender) and tasks (such as objects) of an image, true or predicted."""

    attributes: frozenset[str]
    tasks: frozenset[str]


@dataclass(frozen=True)
class LabelledImage:
    """True and predicted labels of an image."""

    id: Id
    true: LabelSets
    predicted: LabelSets


class Labels(NamedTuple):
    """Attributes [I, A], tasks [I, T] and their co-occurrence [I, A, T] of I images: 0 or 1, or the fraction of the
    labellings of an image that have it."""

    attributes: Floats
    tasks: Floats
    both: Floats


def tabulate(images: Sequence[Sequence[LabelSets]], attributes: Sequence[str], tasks: Sequence[str]) -> Labels:
    """The labels of images, at least one labelling each, with columns in the order of these names; other names are left
    out."""
    labellings = [each for image in images for each in image]
    starts = np.cumsum([0, *map(len, images[:-1])])

    def shares(each: Floats) -> Floats:
        counts = np.array([*map(len, images)], float)
        summed: Floats = np.add.reduceat(each, starts)
        return summed / counts.reshape(-1, *[1] * (each.ndim - 1))

    a = np.array([[name in each.attributes for name in attributes] for each in labellings], float)
    t = np.array([[name in each.tasks for name in tasks] for each in labellings], float)
    return Labels(shares(a), shares(t), shares(a[:, :, None] * t[:, None, :]))


_TRUE = ("attributes", "tasks")
_PREDICTED = ("predicted_attributes", "predicted_tasks")


def read_labels(path: str | Path, predicted: bool = True) -> list[LabelledImage]:
    """Read a table of images: JSON lines (`.jsonl`), a CSV (`.csv`), or else a JSON list.

    Args:
        path: each image has an `id`, the lists of names `attributes` and `tasks`, and `predicted_attributes` and
            `predicted_tasks`. In a CSV a list is a cell of names separated by semicolons.
        predicted: the table has predictions; otherwise the true labels are copied.

    Raises:
        UserError: there is no image, one occurs twice, or a list is missing or no list of texts; names the place.
    """
    images: dict[Id, LabelledImage] = {}
    for place, values in _entries(Path(path)):
        id = values.get("id")
        if not isinstance(id, (int, str)) or isinstance(id, bool):
            raise UserError(f"{place}: 'id' must be a whole number or text")
        if id in images:
            raise UserError(f"{place}: the image {id!r} occurs twice; keep one")
        true = LabelSets(*(_names(values, name, place) for name in _TRUE))
        images[id] = LabelledImage(
            id, true, LabelSets(*(_names(values, name, place) for name in _PREDICTED)) if predicted else true
        )
    if not images:
        raise UserError(f"{path}: holds no images")
    return list(images.values())


def _entries(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix.lower() == ".csv":
        columns = ("id", *_TRUE, *_PREDICTED)
        for place, row in read_csv(path, columns):
            cells = {name: cell.split(";") for name, cell in row.items() if name != "id"}
            lists = {name: [each.strip() for each in names if each.strip()] for name, names in cells.items()}
            yield place, row | lists
        return
    if path.suffix.lower() == ".jsonl":
        entries = read_json_lines(path)
    else:
        value = read_json(path)
        if not isinstance(value, list):
            raise UserError(f"{path}: expected a list of images, found {type(value).__name__}")
        entries = iter([(f"{path}: entry {number}", entry) for number, entry in enumerate(value)])
    for place, entry in entries:
        if not isinstance(entry, dict):
            raise UserError(f"{place}: expected an object with 'id', 'attributes' and 'tasks'")
        yield place, entry


def _names(values: Mapping[str, Any], name: str, place: str) -> frozenset[str]:
    if name not in values:
        raise UserError(f"{place}: the list {name!r} is missing")
    names = values[name]
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise UserError(f"{place}: {name!r} must be a list of texts")
    return frozenset(names)


def named_in(caption: str, words: GenderWords, objects: PhraseTable) -> LabelSets:
    """The gender and the objects that a caption names."""
    gender = words.named(caption)
    spans = objects.find(tokenize(caption))
    return LabelSets(frozenset([gender] if gender else []), frozenset(span.object for span in spans))


PERSON = "person"
"""The object that is left out, since it is in every image with a gender."""


class CaptionLabels(NamedTuple):
    """Labels of images and their captions; `human`: the labels of each reference caption of an image; `notes`: a line
    for each kind of item that was left out."""

    images: list[LabelledImage]
    human: dict[Id, list[LabelSets]]
    notes: list[str]


@dataclass(frozen=True)
class LabelFiles:
    """The files of labelled images: a table, or captions and the objects of their images.

    Args:
        table: images with their true and predicted attributes and tasks (format: docs/probes.md).
        predictions: instead of a table: captions, predictions.jsonl or COCO results.
        objects: with predictions: the objects in the images, {image id: [names]}.
        synonyms: one object per line with its synonyms, separated by commas.
        references: human captions: a baseline and, without lists, the genders in the images.
        women: the ids of images of women, one on a line.
        men: the same of men.
        training: a table of the training images, whose labels define the bias; by default those of the images.
    """

    table: str | None = None
    predictions: str | None = None
    objects: str | None = None
    synonyms: str | None = None
    references: str | None = None
    women: str | None = None
    men: str | None = None
    training: str | None = None

    def read(self) -> CaptionLabels:
        """The labels.

        Raises:
            UserError: there are both or neither of table and predictions, or a file is wrong.
        """
        if (self.table is None) == (self.predictions is None):
            raise UserError("give either --table, or --predictions with --objects")
        if self.table is not None:
            return CaptionLabels(read_labels(self.table), {}, [])
        if self.predictions is None or self.objects is None:
            raise UserError("--predictions needs --objects, a file {image id: [names]}")
        return self._of_captions(self.predictions, self.objects)

    def _of_captions(self, predictions: str, objects: str) -> CaptionLabels:
        """Who and what is in images, and who and what captions name. Attributes are `woman` and `man`, tasks the
        objects; without `synonyms` these are found by their names alone, in singular and plural."""
        words, things = GenderWords.load(), read_object_sets(objects)
        captions = References({}) if self.references is None else read_references(self.references).as_lists()
        people, notes = find_people(captions, words, self.women, self.men)
        labelled = {id: gender for id, gender in people.items() if id in things.of}
        true = {id: LabelSets(frozenset([gender]), things.of[id] - {PERSON}) for id, gender in labelled.items()}
        if len(true) < len(people):
            notes.append(f"{objects}: has {len(true)} of the {len(people)} images of women and men")
        names = frozenset().union(*(each.tasks for each in true.values()))
        find = PhraseTable({phrase: name for phrase, name in phrases(names, self.synonyms).items() if name in names})
        files = captions.files | things.files
        matched = match(read_predictions(predictions), true, "skip", str(predictions), files=files)
        images = [
            LabelledImage(id, each, named_in(matched.predictions[id].text, words, find))
            for id, each in matched.references.items()
        ]
        human = {
            id: [named_in(caption, words, find) for caption in captions[id]]
            for id in matched.references
            if id in captions
        }
        return CaptionLabels(images, human, [*matched.notes, *notes])

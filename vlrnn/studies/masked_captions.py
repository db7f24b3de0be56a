"""Captions of images of women and men, with their gender words masked."""

from dataclasses import dataclass
from pathlib import Path

from vlrnn.data.formats.captions import read_predictions, read_references
from vlrnn.data.matching import match
from vlrnn.data.records import Id
from vlrnn.errors import UserError
from vlrnn.probes.gender_words import GENDERS, Gender, GenderWords, find_people
from vlrnn.text.ptb_tokenizer import tokenize
from vlrnn.text.vocabulary import SPECIAL, UNK

MASK = "<gender>"
FEWEST = 20


@dataclass(frozen=True)
class Masked:
    """The captions of an image, tokenized and masked: the model's, and human ones in the model's vocabulary."""

    id: Id
    gender: Gender
    caption: tuple[str, ...]
    human: tuple[tuple[str, ...], ...]


def mask(caption: str, masked: frozenset[str], vocabulary: frozenset[str] | None = None) -> tuple[str, ...]:
    """The tokens of a caption, with `<gender>` for the masked words, and `<unk>` for those outside the vocabulary, if
    given."""
    tokens = (MASK if token in masked else token for token in tokenize(caption))
    unknown = SPECIAL[UNK]
    return tuple(each if each == MASK or vocabulary is None or each in vocabulary else unknown for each in tokens)


def read_masked(
    predictions: str | Path,
    references: str | Path,
    *,
    women: str | Path | None = None,
    men: str | Path | None = None,
    words: GenderWords | None = None,
) -> tuple[list[Masked], list[str]]:
    """The images of women and men that have both predictions and references, and notes on what was left out.

    Args:
        predictions: `predictions.jsonl`, or COCO results. The vocabulary is counted on all of them.
        references: human captions.
        women, men: an image id on each line; see `find_people`.
        words: that name women and men; all of these are masked, and more.

    Raises:
        UserError: a file is wrong, only one list is given, or too few images are left.
    """
    words = words or GenderWords.load()
    captions = read_references(references).as_lists()
    people, notes = find_people(captions, words, women, men)
    described = {id: gender for id, gender in people.items() if id in captions}
    if len(described) < len(people):
        notes.append(f"{references}: has captions of {len(described)} of the {len(people)} images of women and men")
    predicted = read_predictions(predictions)
    matched = match(predicted, described, "skip", str(predictions), files=captions.files)
    vocabulary = frozenset(token for prediction in predicted for token in tokenize(prediction.text))
    masked = words.masked()
    images = [
        Masked(
            id,
            gender,
            mask(matched.predictions[id].text, masked),
            tuple(mask(caption, masked, vocabulary) for caption in captions[id]),
        )
        for id, gender in matched.references.items()
    ]
    counts = {gender: sum(image.gender == gender for image in images) for gender in GENDERS}
    if min(counts.values()) < FEWEST:
        raise UserError(
            f"{predictions}: {counts['woman']} images of women and {counts['man']} of men have predictions and "
            f"references; an attack needs {FEWEST} of each"
        )
    fewer = min(counts, key=counts.__getitem__)
    notes.append(
        f"{counts[fewer]} images of each gender are used, of {counts['woman']} of women and {counts['man']} of men"
    )
    return images, [*matched.notes, *notes]

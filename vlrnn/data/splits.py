"""Random splits, by image and never by caption or question; shifted answer priors, as of VQA-CP (Agrawal et al. 2018):
subsets of train and test with different answer distributions for each question type, on which a model that relies on
the priors of train fails. Deterministic for a seed."""

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from vlrnn.data.formats.base import Splits
from vlrnn.data.records import SPLITS, Example, Id
from vlrnn.errors import UserError
from vlrnn.text.vocabulary import majority
from vlrnn.text.vqa_normalization import canonical_answer


def draw_splits(
    listed: Iterable[tuple[str, str | None]], shares: Sequence[float], seed: int, what: str
) -> dict[tuple[str, str | None], str]:
    """The split of every image: the one in the table, or a random one if the table has none.

    Args:
        listed: image and split, or None, of every row of a table.
        shares: fractions of the images for train, val and test, if the table has no splits.
        seed: of the random splits.
        what: contents of the rows, for errors.

    Returns:
        image and split of a row -> its split.

    Raises:
        UserError: only some rows have a split, or the shares do not sum to 1.
    """
    homes = dict.fromkeys(listed)
    unsplit = sorted(image for image, split in homes if split is None)
    if unsplit and len(unsplit) < len(homes):
        raise UserError(f"some {what} have a split and some do not: {unsplit[0]} has none")
    drawn = dict(zip(unsplit, _draw(len(unsplit), shares, seed), strict=True))
    return {(image, split): split or drawn[image] for image, split in homes}


def _draw(count: int, shares: Sequence[float], seed: int) -> list[str]:
    """A split for each of `count` images; sizes are rounded shares."""
    if len(shares) != len(SPLITS) or not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise UserError(f"the shares {', '.join(map(str, shares))} must be three that sum to 1")
    ends = [round(count * sum(shares[: place + 1])) for place in range(len(SPLITS))]
    starts = [0, *ends[:-1]]
    drawn = [split for split, start, end in zip(SPLITS, starts, ends, strict=True) for _ in range(end - start)]
    Random(seed).shuffle(drawn)
    return drawn


def cut_dev(examples: Sequence[Example], dev: float, seed: int) -> Splits:
    """Split a random `val` from training examples.

    Args:
        examples: of the training split.
        dev: number of images, or a fraction of them if below 1.
        seed: of the random split.

    Returns:
        `train` and, unless empty, `val`, each in the order of `examples`.

    Raises:
        UserError: `train` would be empty.
    """
    images = _shuffled_images(examples, seed)
    count = round(dev * len(images)) if dev < 1 else int(dev)
    if count >= len(images):
        raise UserError(f"--dev {dev:g}: of {len(images)} images none would be left to train on")
    train, val = _divide(examples, set(images[:count]))
    return {"train": train, "val": val} if val else {"train": train}


def cut_fold(examples: Sequence[Example], folds: int, fold: int, seed: int) -> tuple[list[Example], list[Example]]:
    """One fold of a cross-validation. The folds are disjoint, cover all images, and differ in size by at most one
    image.

    Args:
        examples: to be divided.
        folds: their number, 2 or more.
        fold: index of the fold, from 1.
        seed: of the random folds.

    Returns:
        the rest and the fold, each in the order of `examples`.

    Raises:
        UserError: there is no such fold.
    """
    images = _shuffled_images(examples, seed)
    if not 2 <= folds <= len(images):
        raise UserError(f"--folds {folds}: {len(images)} images make 2 to {len(images)} folds")
    if not 1 <= fold <= folds:
        raise UserError(f"--fold {fold}: the {folds} folds are numbered from 1 to {folds}")
    return _divide(examples, set(images[fold - 1 :: folds]))


def _shuffled_images(examples: Sequence[Example], seed: int) -> list[Id]:
    images = sorted({example.image_id for example in examples}, key=str)  # independent of the order of the file
    Random(seed).shuffle(images)
    return images


def _divide(examples: Sequence[Example], images: set[Id]) -> tuple[list[Example], list[Example]]:
    rest = [example for example in examples if example.image_id not in images]
    return rest, [example for example in examples if example.image_id in images]


def checked_dev(dev: float) -> float:
    """The number of images, as an integer, or the fraction below 1, that `cut_dev` takes from train.

    Raises:
        UserError: it is neither.
    """
    if not (0 <= dev < 1 or (dev > 0 and float(dev).is_integer())):
        raise UserError(f"--dev {dev:g}: must be a share from 0 to below 1, or a whole number of images")
    return dev if dev < 1 else int(dev)


Order = Mapping[str, Sequence[str]]
"""Question type -> its answers, from the one that becomes most frequent to the one that becomes rarest."""


def draw_order(examples: Iterable[Example], seed: int) -> Order:
    """A random order of the answers of every question type."""
    answers: dict[str, set[str]] = {}
    for example in examples:
        if example.answers:
            answers.setdefault(example.question_type or "", set()).add(correct(example))
    order = {question_type: sorted(each) for question_type, each in sorted(answers.items())}
    for each in order.values():
        Random(f"{seed}/{each}").shuffle(each)
    return order


def shift(
    examples: Iterable[Example], order: Order, strength: float, seed: int, *, reverse: bool = False
) -> list[Example]:
    """Leave questions out, so that the first answers of the order become frequent; none is changed or moved.

    A question with the first answer of a type is always retained, with the last one with probability 1 - strength, and
    with those in between with probabilities in geometric steps; answers that are not in the order are left out.

    Args:
        examples: with answers.
        order: of `draw_order`.
        strength: from 0, which leaves nothing out, to below 1.
        seed: of the random choice of questions.
        reverse: make the last answers of the order frequent instead.

    Raises:
        UserError: the strength is not between 0 and 1.
    """
    if not 0 <= strength < 1:
        raise UserError(f"a strength must be at least 0 and below 1, not {strength}")
    retained = {}
    for question_type, answers in order.items():
        last = max(1, len(answers) - 1)
        places = range(len(answers))
        for answer, place in zip(answers, reversed(places) if reverse else places, strict=True):
            retained[question_type, answer] = (1 - strength) ** (place / last)
    return [
        example
        for example in examples
        if example.answers
        and Random(f"{seed}/{example.id}").random() < retained.get((example.question_type or "", correct(example)), 0.0)
    ]


def correct(example: Example) -> str:
    """The majority of the normalised answers."""
    return majority(list(map(canonical_answer, example.answers)))

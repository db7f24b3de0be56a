"""Random splits, by image and never by caption or question; deterministic for a seed."""

from collections.abc import Iterable, Sequence
from random import Random

from vlrnn.data.formats.base import Splits
from vlrnn.data.records import SPLITS, Example, Id
from vlrnn.errors import UserError


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
        raise UserError(f"some {what} name their split and some do not: {unsplit[0]} has none")
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

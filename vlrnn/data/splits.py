"""Splits drawn by chance: always by image, never by caption or question, and the same for the same seed.

Independent of formats of data sets.
"""

import argparse
from collections.abc import Iterable, Sequence
from random import Random

from vlrnn.data.formats.base import Splits
from vlrnn.data.records import SPLITS, Example, Id
from vlrnn.errors import UserError


def draw_splits(
    listed: Iterable[tuple[str, str | None]], shares: Sequence[float], seed: int, what: str
) -> dict[tuple[str, str | None], str]:
    """The split of every image: the one that its rows name, or one drawn when no row names any.

    Args:
        listed: the image and the split of every row of a table; all name a split, or none does.
        shares: of the images that go to train, val and test, when the rows do not say.
        seed: another seed, other splits.
        what: is in the rows, for errors.

    Returns:
        Image and the split that its row names -> its split.

    Raises:
        UserError: only some rows name their split, or the shares do not make a whole.
    """
    homes = dict.fromkeys(listed)
    unsplit = sorted(image for image, split in homes if split is None)
    if unsplit and len(unsplit) < len(homes):
        raise UserError(f"some {what} name their split and some do not: {unsplit[0]} has none")
    drawn = dict(zip(unsplit, _draw(len(unsplit), shares, seed), strict=True))
    return {(image, split): split or drawn[image] for image, split in homes}


def _draw(count: int, shares: Sequence[float], seed: int) -> list[str]:
    """A split for each of `count` images; their sizes are as near to the shares as whole images can be."""
    if len(shares) != len(SPLITS) or not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise UserError(f"the shares {', '.join(map(str, shares))} must be three that sum to 1")
    ends = [round(count * sum(shares[: place + 1])) for place in range(len(SPLITS))]
    starts = [0, *ends[:-1]]
    drawn = [split for split, start, end in zip(SPLITS, starts, ends, strict=True) for _ in range(end - start)]
    Random(seed).shuffle(drawn)
    return drawn


def cut_dev(examples: Sequence[Example], dev: float, seed: int) -> Splits:
    """Cut a development split from training examples.

    Args:
        examples: of the training split.
        dev: how many images; below 1 which share of them.
        seed: another seed, another split.

    Returns:
        `train` and, unless it is of no image, `val`, each in the order of `examples`.

    Raises:
        UserError: nothing would be left to train on.
    """
    images = _shuffled_images(examples, seed)
    count = round(dev * len(images)) if dev < 1 else int(dev)
    if count >= len(images):
        raise UserError(f"--dev {dev:g}: of {len(images)} images none would be left to train on")
    train, val = _divide(examples, set(images[:count]))
    return {"train": train, "val": val} if val else {"train": train}


def cut_fold(examples: Sequence[Example], folds: int, fold: int, seed: int) -> tuple[list[Example], list[Example]]:
    """Cut one part of a cross-validation. The parts together cover every image once, and are equally large but for one
    image.

    Args:
        examples: to be divided.
        folds: into how many parts, 2 or more.
        fold: which part, from 1.
        seed: another seed, other parts.

    Returns:
        The rest and the part, each in the order of `examples`.

    Raises:
        UserError: there is no such part.
    """
    images = _shuffled_images(examples, seed)
    if not 2 <= folds <= len(images):
        raise UserError(f"--folds {folds}: {len(images)} images make 2 to {len(images)} folds")
    if not 1 <= fold <= folds:
        raise UserError(f"--fold {fold}: the {folds} folds are numbered from 1 to {folds}")
    return _divide(examples, set(images[fold - 1 :: folds]))


def _shuffled_images(examples: Sequence[Example], seed: int) -> list[Id]:
    images = sorted({example.image_id for example in examples}, key=str)  # in whatever order the file has them
    Random(seed).shuffle(images)
    return images


def _divide(examples: Sequence[Example], images: set[Id]) -> tuple[list[Example], list[Example]]:
    rest = [example for example in examples if example.image_id not in images]
    return rest, [example for example in examples if example.image_id in images]


def add_dev_options(parser: argparse.ArgumentParser) -> None:
    """Give a script the options for a val split that is cut from train by image: `dev` and `seed`."""
    parser.add_argument(
        "--dev",
        type=dev_share,
        default=0.1,
        metavar="N",
        help="images cut from train for val; below 1 a share; default 0.1",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, another val split")


def dev_share(text: str) -> float:
    """Read how many images, or below 1 which share of them, are cut from train.

    Raises:
        UserError: it is neither.
    """
    try:
        dev = float(text)
    except ValueError:
        dev = -1.0
    if not (0 <= dev < 1 or (dev.is_integer() and dev > 0)):
        raise UserError(f"--dev {text}: must be a share from 0 to below 1, or a whole number of images")
    return dev if dev < 1 else int(dev)

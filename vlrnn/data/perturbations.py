"""Perturbed views of a data set: blank or swapped images, truncated or shuffled questions.

A view maps an item (an image with its questions) to an item. Ids and references are unchanged, so that predictions for
a view are scored as those for the original.
"""

import random
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from vlrnn.data.batches import Item
from vlrnn.data.records import Id
from vlrnn.errors import UserError

View = Callable[[Item], Item]


def constant_image(regions: Tensor) -> View:
    """Every image has the same `regions` [N, D], for example of a blank image, or the mean of all images."""
    return lambda item: item._replace(pixels=None, regions=regions)


def swapped_images(others: Mapping[Id, Id], regions_of: Callable[[Id], Tensor]) -> View:
    """Every image is replaced by another one.

    Args:
        others: image id -> id of the image that replaces it; see `derangement`.
        regions_of: image id -> regions [N, D].
    """
    return lambda item: item._replace(pixels=None, regions=regions_of(others[item.examples[0].image_id]))


def first_words(count: int) -> View:
    """Questions are truncated to their first words."""
    return lambda item: item._replace(rows=[row[:count] for row in item.rows])


def shuffled_words(seed: int = 0) -> View:
    """The words of each question are shuffled; the order depends on the id of the question and the seed only."""

    def shuffle(row: list[int], id: Id) -> list[int]:
        return random.Random(f"{seed} {id}").sample(row, len(row))

    return lambda item: item._replace(
        rows=[shuffle(row, example.id) for row, example in zip(item.rows, item.examples, strict=True)]
    )


def derangement(ids: Iterable[Id], seed: int = 0) -> dict[Id, Id]:
    """A random permutation of ids without fixed points, one cycle through all; independent of the order of `ids`.

    Raises:
        UserError: there are fewer than two.
    """
    order = sorted(set(ids), key=str)
    if len(order) < 2:
        raise UserError(f"to see somebody else's image takes two images at least; there are {len(order)}")
    random.Random(seed).shuffle(order)
    return dict(zip(order, [*order[1:], order[0]], strict=True))

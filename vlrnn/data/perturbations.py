"""The data set seen otherwise: images that are blank or somebody else's, questions that are cut short or shuffled.

A view is a function from an item, an image with what is asked about it, to an item. Everything else of the item stays,
so that a model's answers to it are scored, and compared, as those to the item itself. Independent of models.
"""

import random
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from vlrnn.data.batches import Item
from vlrnn.data.records import Id
from vlrnn.errors import UserError

View = Callable[[Item], Item]


def constant_image(regions: Tensor) -> View:
    """Every image is the same, `regions` [N, D]: those of a blank image, say, or the mean of all."""
    return lambda item: item._replace(pixels=None, regions=regions)


def swapped_images(others: Mapping[Id, Id], regions_of: Callable[[Id], Tensor]) -> View:
    """Every image is another one.

    Args:
        others: image id -> the id of the image that stands in its place; see `derangement`.
        regions_of: image id -> regions [N, D].
    """
    return lambda item: item._replace(pixels=None, regions=regions_of(others[item.examples[0].image_id]))


def first_words(count: int) -> View:
    """Questions end behind their first words."""
    return lambda item: item._replace(rows=[row[:count] for row in item.rows])


def shuffled_words(seed: int = 0) -> View:
    """The words of each question are in an order drawn at random; that of a question hangs on its id and the seed
    alone."""

    def shuffle(row: list[int], id: Id) -> list[int]:
        return random.Random(f"{seed} {id}").sample(row, len(row))

    return lambda item: item._replace(
        rows=[shuffle(row, example.id) for row, example in zip(item.rows, item.examples, strict=True)]
    )


def derangement(ids: Iterable[Id], seed: int = 0) -> dict[Id, Id]:
    """Each of some ids -> another of them, drawn at random: one cycle through all, so that none stays in its place and
    each stands in the place of one. The same ids give the same, whatever their order.

    Raises:
        UserError: there are fewer than two.
    """
    order = sorted(set(ids), key=str)
    if len(order) < 2:
        raise UserError(f"to see somebody else's image takes two images at least; there are {len(order)}")
    random.Random(seed).shuffle(order)
    return dict(zip(order, [*order[1:], order[0]], strict=True))

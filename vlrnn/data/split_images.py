"""Which images a split has, and which of them each example is about; memory holds a number per example, no name. And
whether it can be scored."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from vlrnn.errors import UserError
from vlrnn.kept import kept_arrays
from vlrnn.progress import track
from vlrnn.record_ids import Id, check_each_once
from vlrnn.records import Example, RecordFile


class SplitImages(Sequence[str]):
    """The names of a split's images, each once, numbered in the order in which the examples come to them. A split file
    is gone through once for it, and never again: what was found is kept beside the file.

    Args:
        examples: of the split.

    Attributes:
        of_example: [E], the number of each example's image.

    Raises:
        UserError: an id stands twice.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        if isinstance(examples, RecordFile):
            path, gone_through = examples.path, track(examples, f"images of {examples.path.stem}", unit="examples")
            found = kept_arrays(path, "images", lambda: _number(examples, gone_through, str(path)))
        else:
            found = _number(examples, examples, "the split")
        self.of_example: np.ndarray = found["of_example"]
        self._first: np.ndarray = found["first"]

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, number: int) -> str:  # type: ignore[override]
        example: Example = self.examples[int(self._first[number])]
        return example.image


def _number(examples: Sequence[Example], gone_through: Iterable[Example], where: str) -> Mapping[str, np.ndarray]:
    numbers: dict[str, int] = {}
    found = array("q")

    def ids() -> Iterator[Id]:
        for each in gone_through:
            found.append(numbers.setdefault(each.image, len(numbers)))
            yield each.id

    check_each_once(ids(), lambda place: examples[place].id, where)
    of_example = np.array(found, np.int64)
    return {"of_example": of_example, "first": np.unique(of_example, return_index=True)[1]}


def check_scored(examples: Sequence[Example], asks: bool, place: str, *, chooses: bool) -> None:
    """See that a split can be scored, ahead of hours of work.

    Args:
        examples: of the split.
        asks: whether they are questions.
        place: the file of the split, for errors.
        chooses: whether its scores choose the best model; else its captions or answers may be kept from us.

    Raises:
        UserError: there are too few; or they are to choose, and no question has an answer, or an image no caption.
    """
    count, least = len(examples), 1 if asks else 2
    if count < least:
        raise UserError(f"{place}: scores take {'a question' if asks else 'two images'} at least; there are {count}")
    if not chooses:
        return
    if asks:
        bare = [] if any(each.answers for each in examples) else ["none of its questions has answers"]
    else:
        bare = [f"{each.id!r} has no captions" for each in examples if not each.captions]
    if bare:
        more = f", nor have {len(bare) - 1} more" if len(bare) > 1 else ""
        raise UserError(f"{place}: {bare[0]}{more}; fit chooses the best model by the scores of this split")

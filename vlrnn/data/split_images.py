"""Which images a split has, and which of them each example is about; memory holds a number per example, no name."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from vlrnn.kept import kept_arrays
from vlrnn.progress import track
from vlrnn.records import Example, RecordFile


class SplitImages(Sequence[str]):
    """The names of a split's images, each once, numbered in the order in which the examples come to them. A split file
    is gone through once for it, and never again: what was found is kept beside the file.

    Args:
        examples: of the split.

    Attributes:
        of_example: [E], the number of each example's image.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        if isinstance(examples, RecordFile):
            told = f"images of {examples.path.stem}"
            found = kept_arrays(examples.path, "images", lambda: _number(track(examples, told, unit="examples")))
        else:
            found = _number(examples)
        self.of_example: np.ndarray = found["of_example"]
        self._first: np.ndarray = found["first"]

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, number: int) -> str:  # type: ignore[override]
        example: Example = self.examples[int(self._first[number])]
        return example.image


def _number(examples: Iterable[Example]) -> Mapping[str, np.ndarray]:
    numbers: dict[str, int] = {}
    of_example = np.fromiter((numbers.setdefault(each.image, len(numbers)) for each in examples), np.int64)
    return {"of_example": of_example, "first": np.unique(of_example, return_index=True)[1]}

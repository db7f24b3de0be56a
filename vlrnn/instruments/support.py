"""How much a picture speaks for each object that a caption of it names: of one picture what `attribution` tells of a
split. Nobody need know what is in the picture."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from PIL import Image

from vlrnn.predictor import ImageLike, Predictor
from vlrnn.probes.object_spans import Span

_GREY = Image.new("RGB", (64, 64), (128, 128, 128))
_SURE = 0.5


class Support(NamedTuple):
    """An object that a caption names: the probability of its words, given those before them and the picture, `image`,
    or a grey one, `blank`."""

    object: str
    image: float
    blank: float

    @property
    def doubtful(self) -> bool:
        """Whether it may be made up: the picture makes it no likelier than none does, or it is less likely than not."""
        return self.image <= self.blank or self.image < _SURE


def support(
    predictor: Predictor, image: ImageLike, words: Sequence[str], find: Callable[[Sequence[str]], Sequence[Span]]
) -> list[Support]:
    """The objects that the words of a caption name, from left to right.

    Args:
        predictor: a captioner.
        image: what the caption is of.
        words: of the caption.
        find: which objects are named.

    Raises:
        UserError: the file is no image, or the model answers questions.
    """
    seen, unseen = (predictor.reread(each, words).log_probs for each in (image, _GREY))
    return [
        Support(span.object, *(math.exp(each[span.start : span.stop].sum()) for each in (seen, unseen)))
        for span in find(words)
    ]

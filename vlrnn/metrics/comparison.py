"""Two systems on the same images: is the one better, or is it chance?"""

from vlrnn.errors import UserError
from vlrnn.metrics.bootstrap import Resampler, interval, p_value
from vlrnn.metrics.captions import CaptionScores


def compare(
    first: CaptionScores, second: CaptionScores, resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, float | int]]:
    """The first system's scores less the second's, by the paired bootstrap: both are resampled on the same
    sets of images.

    Returns:
        name -> `{"value", "low", "high", "n", "p"}`: the difference, its 95 % interval, and the two-sided p
        value of there being none.

    Raises:
        UserError: the two were not scored on the same images.
    """
    if first.ids != second.ids:
        raise UserError("the two sets of predictions were not scored on the same images")
    resampler = Resampler(len(first), resamples, seed)
    samples, others = first.resampled(resampler), second.resampled(resampler)
    compared = {}
    for name, value in first.corpus.items():
        difference, differences = value - second.corpus[name], samples[name] - others[name]
        compared[name] = interval(difference, differences, len(first)) | {"p": p_value(difference, differences)}
    return compared

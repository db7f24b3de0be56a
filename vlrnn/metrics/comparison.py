"""Two systems on the same images: is the one better, or is it chance?"""

from vlrnn.errors import UserError
from vlrnn.metrics.bootstrap import Floats, Resampler, interval, p_value
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
    return {
        name: difference(value - second.corpus[name], samples[name] - others[name], len(first))
        for name, value in first.corpus.items()
    }


def difference(value: float, samples: Floats, items: int) -> dict[str, float | int]:
    """A difference of two systems with its interval and p value, as result files have it.

    Args:
        value: the difference on the items themselves.
        samples: [resamples], the difference on each resampled set.
        items: how many items.
    """
    return interval(value, samples, items) | {"p": p_value(value, samples)}

"""Shares as percentages for people."""

_DIGIT = 0.001  # the smallest step that is shown, 0.1 %


def percent(share: float) -> str:
    """A share in 0..1 as `12.3 %`. What would be rounded to nothing, or to all, is told as `< 0.1 %` or `> 99.9 %`:
    neither a sigmoid nor a softmax reaches them."""
    if share < _DIGIT:
        return "< 0.1 %"
    if share > 1 - _DIGIT:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"

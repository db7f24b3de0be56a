"""What a sweep tries next. Optuna proposes; nothing is kept but what was tried, so that a sweep which was interrupted
proposes what it would have proposed without. Knows no recipe and trains nothing.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import count
from typing import Any, Literal, NamedTuple

import numpy as np

from vlrnn.errors import UserError
from vlrnn.studies.space import Choice, Plain, Range, Space

Sampler = Literal["tpe", "random"]
_TRIES = 10  # of TPE, until what it proposes was not tried; random numbers are drawn for as long as it takes


class Tried(NamedTuple):
    """The settings of a trial, and its score; None while it is not known, and nan of one that failed."""

    settings: Mapping[str, Plain]
    score: float | None


def need_optuna() -> None:
    """See that it is installed.

    Raises:
        UserError: it is not.
    """
    if not find_spec("optuna"):
        raise UserError("a sweep needs Optuna: pip install 'vlrnn[sweep]'")


def propose(
    space: Space, tried: Sequence[Tried], best: Literal["max", "min"], sampler: Sampler, seeds: Sequence[int]
) -> dict[str, Plain]:
    """Settings that were not tried, of which there must be some.

    TPE (Bergstra et al., NeurIPS 2011) draws at random until ten trials are known. One that failed counts as worse than
    all others, and one that is under way as bad, that another be tried.

    Args:
        space: what is swept.
        tried: all trials before.
        best: whether the highest or the lowest score is.
        sampler: who proposes.
        seeds: of what is drawn.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = [dict(each.settings) for each in tried]
    distributions = {key.name: _distribution(key.values) for key in space}
    for attempt in count():
        (seed,) = map(int, np.random.SeedSequence([*seeds, attempt]).generate_state(1))
        by_tpe = sampler == "tpe" and attempt < _TRIES
        drawing = optuna.samplers.TPESampler(seed=seed) if by_tpe else optuna.samplers.RandomSampler(seed=seed)
        study = optuna.create_study(sampler=drawing, direction="maximize" if best == "max" else "minimize")
        if by_tpe:
            study.add_trials([_trial(each, distributions) for each in tried])
        drawn = study.ask(distributions).params
        ranges = {key.name: key.values for key in space if isinstance(key.values, Range)}
        settings = {name: ranges[name].settled(each) if name in ranges else each for name, each in drawn.items()}
        if settings not in known:
            return settings
    raise AssertionError


def _distribution(values: Range | Choice) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(values, Choice):
        return CategoricalDistribution(values.values)
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), values.log)
    return FloatDistribution(values.low, values.high, values.log)


def _trial(tried: Tried, distributions: Mapping[str, Any]) -> Any:
    from optuna.trial import TrialState, create_trial

    state, score = TrialState.COMPLETE, tried.score
    if score is None or score != score:
        state, score = TrialState.RUNNING if score is None else TrialState.PRUNED, None
    return create_trial(state=state, value=score, params=dict(tried.settings), distributions=dict(distributions))

"""The search space of a sweep, and proposals from it.

`KEY=LOW..HIGH` is uniform over a range, of integers where both bounds are integers; `KEY=log:LOW..HIGH` log-uniform;
`KEY=A,B,C` a choice.
"""

import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from importlib import import_module
from itertools import count
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml

from vlrnn.errors import UserError
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.spec import cell_part, split_cells
from vlrnn.training.cli import run_recipe
from vlrnn.training.recipes import Place, over, overlay

Plain = int | float | bool | str | None
"""A value of a key; a class is given by its name."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"(log:)?({_NUMBER})\.\.({_NUMBER})")
_WHOLE = re.compile(r"[+-]?\d+")
_DIGITS = 4  # significant ones of drawn numbers, for readable tables


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool
    whole: bool

    @property
    def size(self) -> float:
        return self.high - self.low + 1 if self.whole else math.inf

    def rounded(self, value: float) -> float:
        """A drawn number, rounded within the bounds."""
        number = int(value) if self.whole else float(f"{value:.{_DIGITS}g}")
        return min(max(number, self.low), self.high)


class Choice(NamedTuple):
    """One of some values. `parts` has the config of each value that is a class."""

    values: Sequence[Plain]
    parts: Mapping[Plain, Mapping[str, Any]]

    @property
    def size(self) -> float:
        return len(self.values)


class Key(NamedTuple):
    """A key of a recipe: its name on the command line, its place, and its values."""

    name: str
    place: Place
    values: Range | Choice


Space = Sequence[Key]


def read_space(specs: Sequence[str], recipe: Mapping[str, Any]) -> Space:
    """The search space of the keys of a command line.

    Args:
        specs: `KEY=VALUES` as above; a key may omit `class_path` and `init_args`, as in flags.
        recipe: with all its keys, see `whole_recipe`.

    Raises:
        UserError: the recipe has no such key, a key is given twice, or its values cannot be read.
    """
    space: list[Key] = []
    for spec in specs:
        name, equals, values = spec.partition("=")
        if not equals or not values:
            raise UserError(f"--key {spec}: expected KEY=VALUES: 0.0..0.5, log:1e-4..1e-2, 16..64 or A,B,C")
        place, held = _find(name, recipe)
        read = _read_part(name, values, held) if isinstance(held, dict) else _read_values(name, values)
        space.append(Key(name, place, read))
    for number, key in enumerate(space):
        if key.place in [each.place for each in space[:number]]:
            raise UserError(f"--key {key.name}: occurs twice")
    return space


def _find(name: str, recipe: Mapping[str, Any]) -> tuple[Place, Any]:
    """The place of a key in a recipe, and its value."""
    place: Place = ()
    held: Any = recipe
    for key in name.split("."):
        if isinstance(held, dict) and "class_path" in held and key not in ("class_path", "init_args"):
            place, held = (*place, "init_args"), held.get("init_args", {})
        if not isinstance(held, dict) or key not in held:
            at = ".".join(each for each in place if each != "init_args")
            keys = f"has {', '.join(held)}" if isinstance(held, dict) and held else "has no keys"
            raise UserError(f"--key {name}: the recipe has no such key; {at or 'it'} {keys}")
        place, held = (*place, key), held[key]
    return place, held


def _read_values(name: str, values: str) -> Range | Choice:
    if found := _RANGE.fullmatch(values):
        log, low, high = found.groups()
        whole = bool(_WHOLE.fullmatch(low) and _WHOLE.fullmatch(high))
        number = int if whole else float
        bounds = Range(number(low), number(high), bool(log), whole)
        if not bounds.low < bounds.high < math.inf:
            raise UserError(f"--key {name}: {values}: must increase from its first to its last number")
        if log and bounds.low <= 0:
            raise UserError(f"--key {name}: {values}: log needs numbers above 0")
        return bounds
    return _choice(name, [_value(each) for each in values.split(",") if each])


def _read_part(name: str, values: str, held: Mapping[str, Any]) -> Choice:
    """Classes in place of another: recurrences by their names, of the same hidden size; others by their paths."""
    if "class_path" not in held:
        raise UserError(f"--key {name}: has keys of its own, {', '.join(held)}; name one of them")
    module, _, class_name = held["class_path"].rpartition(".")
    if not issubclass(getattr(import_module(module), class_name), Recurrence):
        classes = [each for each in values.split(",") if each]
        return _choice(name, classes, {each: {"class_path": each} for each in classes})
    cells = split_cells(values)
    width = held.get("init_args", {}).get("hidden_size")
    size = {} if width is None else {"hidden_size": width}
    return _choice(name, cells, {cell: cell_part(cell, **size) for cell in cells})


def _choice(name: str, values: Sequence[Plain], parts: Mapping[Plain, Mapping[str, Any]] | None = None) -> Choice:
    if len(values) < 2:
        raise UserError(f"--key {name}: one value cannot be searched; give it to the recipe after --: --{name} VALUE")
    if len(set(values)) < len(values):
        raise UserError(f"--key {name}: two of its values are the same")
    return Choice(tuple(values), parts or {})


def _value(text: str) -> Plain:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # a word
        return text
    return text if isinstance(value, (dict, list)) else value


def combinations(space: Space) -> float:
    """The number of combinations of values."""
    return math.prod(key.values.size for key in space)


def recipe_of(space: Space, settings: Mapping[str, Plain]) -> dict[str, Any]:
    """The overlay with the setting of each key; keys within a part are applied after the part itself."""
    found: dict[str, Any] = {}
    for key in sorted(space, key=lambda key: len(key.place)):
        value = settings[key.name]
        part = key.values.parts.get(value) if isinstance(key.values, Choice) else None
        found = over(found, overlay(key.place, value if part is None else part))
    return found


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Key -> the shortest end that is unique: its last word, or some more."""
    words = {name: [word for word in name.split(".") if word not in ("class_path", "init_args")] for name in names}
    found = {}
    for name, own in words.items():
        others = [each for other, each in words.items() if other != name]
        size = next((n for n in range(1, len(own)) if all(own[-n:] != each[-n:] for each in others)), len(own))
        found[name] = ".".join(own[-size:])
    return found


Sampler = Literal["tpe", "random"]
_TRIES = 10  # of TPE until it proposes a new setting; after these, random drawing


class Tried(NamedTuple):
    """The settings of a trial, and its score; None while it runs, and nan of one that failed."""

    settings: Mapping[str, Plain]
    score: float | None


def propose(
    space: Space, tried: Sequence[Tried], best: Literal["max", "min"], sampler: Sampler, seeds: Sequence[int]
) -> dict[str, Plain]:
    """Settings that were not tried before; there must be some left.

    TPE (Bergstra et al., NeurIPS 2011) draws at random in the first ten trials. A failed trial counts as worse than all
    others, and a running one as bad, so that other settings are proposed.

    Args:
        space: the search space.
        tried: all earlier trials.
        best: whether the highest or the lowest score is the best.
        sampler: of the proposals.
        seeds: of the drawing.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tried_settings = [dict(each.settings) for each in tried]
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
        settings = {name: ranges[name].rounded(each) if name in ranges else each for name, each in drawn.items()}
        if settings not in tried_settings:
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


def whole_recipe(arguments: Sequence[str]) -> dict[str, Any]:
    """The recipe that `vlrnn fit` would run with these arguments, with all defaults; every part by its `class_path` and
    `init_args`.

    Raises:
        UserError: an unknown key, or a value that does not fit.
    """
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):  # printing a recipe ends with an exit
        run_recipe("fit", [*arguments, "--print_config"])
    return yaml.safe_load(printed.getvalue())

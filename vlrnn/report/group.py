"""Runs that were scored on the same examples, compared item by item, and by properties of the items: length of the
references, objects in the image, type of the question. Reads the scores that the runs stored, and computes none."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlrnn.data.records import Example, Id, Prediction, ScoredExample
from vlrnn.metrics.captions import CaptionScores, compare
from vlrnn.metrics.statistics import Floats, MeansByImage
from vlrnn.metrics.vqa import AnswerScores
from vlrnn.report.run import Run

LOWER_IS_BETTER = ("bits_per_character",)
"""Scores of items whose lowest values are the best."""

_MOST = 20  # rows of a breakdown
_FEWEST = 5  # items of a kind, unless all kinds are given
_PARTS = 5  # of a breakdown by length


class Group:
    """Runs on the same examples.

    Attributes:
        predictions: of each run, by the example's id.
        examples: all of them; of the first run where several have one.
        has_questions: whether the examples have questions.
        unit: the name of the score that items are ranked by: the first of an item's scores.
        ids: the items that all runs with scores of items have scored.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs
        self.predictions: list[dict[Id, Prediction]] = [{each.id: each for each in run.predictions} for run in runs]
        items: list[dict[Id, ScoredExample]] = [{each.id: each for each in run.items} for run in runs]
        self.examples = {id: item for of_run in reversed(items) for id, item in of_run.items()}
        self.has_questions = any(example.question is not None for example in self.examples.values())
        self.unit = next((name for example in self.examples.values() for name in example.scores), "score")
        self._scored = [{id: item for id, item in each.items() if self.unit in item.scores} for each in items]
        first, *others = [scored for scored in self._scored if scored] or [{}]
        self.ids = tuple(id for id in first if id in self.predictions[0] and all(id in each for each in others))

    def values(self, run: int) -> Floats | None:
        """The score of each item [ids] by a run; None of a run that has no scores of items."""
        items = self._scored[run]
        return np.array([items[id].scores[self.unit] for id in self.ids]) if items else None

    def differences(self, resamples: int = 1000, seed: int = 0) -> list[tuple[str, Mapping[str, Any]]]:
        """The differences of the first run's scores and those of each other run, if both have scores of captions or of
        answers, by the paired bootstrap over images: the other's name, and name -> `{"value", "low", "high", "n",
        "p"}`."""
        first, *others = [self._scores(run) for run in range(len(self.runs))]
        found: list[tuple[str, Mapping[str, Any]]] = []
        for run, other in zip(self.runs[1:], others, strict=True):
            if isinstance(first, CaptionScores) and isinstance(other, CaptionScores):
                found.append((run.name, compare(first, other, resamples, seed)))
            elif isinstance(first, AnswerScores) and isinstance(other, AnswerScores):
                less = first.less(other, resamples, seed).items()
                found.append((run.name, {name: each for name, each in less if "value" in each}))
        return found

    def _scores(self, run: int) -> CaptionScores | AnswerScores | None:
        items = [self._scored[run][id] for id in self.ids] if self._scored[run] else []
        if items and all(item.bleu_statistics for item in items):
            return CaptionScores.of_items(items)
        return AnswerScores.of_items(items) if items and self.unit == "accuracy" else None


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Group the runs that were scored on the same split, or, without a split in their settings, that have scores in
    common; in their order, baselines last."""
    grouped: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: run.baseline):
        group = next((group for group in grouped if _comparable(run, group[0])), None)
        if group is None:
            grouped.append([run])
        else:
            group.append(run)
    return list(map(Group, grouped))


def _comparable(run: Run, other: Run) -> bool:
    if run.scored_on or other.scored_on:
        return run.scored_on == other.scored_on
    return bool(run.scores.keys() & other.scores.keys())


class Property(NamedTuple):
    """A property of examples: the `kinds` of an example; `order` has all possible kinds, or is empty for an order by
    frequency."""

    title: str
    kinds: Callable[[Example], Sequence[str]]
    order: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """The scores of the runs, in their order, on `n` items of a kind; None of a run without scores of items."""

    label: str
    n: int
    scores: Sequence[Mapping[str, float | int] | None]


@dataclass(frozen=True)
class Breakdown:
    """The mean scores by one property of the items. `left_out` is the number of kinds without a row."""

    title: str
    rows: Sequence[Row]
    left_out: int

    @property
    def reach(self) -> tuple[float, float]:
        """The ends of a scale for all scores."""
        return 0.0, max(float(score["high"]) for row in self.rows for score in row.scores if score)


def breakdowns(group: Group, resamples: int = 1000, seed: int = 0) -> list[Breakdown]:
    """The breakdowns of a group with at least two rows; intervals are of the bootstrap over images."""
    if not group.ids:
        return []
    examples = [group.examples[id] for id in group.ids]
    means = MeansByImage([example.image_id for example in examples], resamples, seed)
    runs = range(len(group.runs))
    values = {run: each for run in runs if (each := group.values(run)) is not None}
    found = []
    for title, kinds, order in _properties(group.has_questions, examples):
        has = [set(kinds(example)) for example in examples]
        counts = Counter(kind for each in has for kind in each)
        if not order:
            order = [kind for kind in sorted(counts, key=lambda kind: (-counts[kind], kind)) if counts[kind] >= _FEWEST]
        often = [kind for kind in order if counts[kind]][:_MOST]
        members = {kind: np.array([kind in each for each in has]) for kind in often}
        if len(members) > 1:
            scores = means.of_groups(values, members)
            rows = [Row(kind, counts[kind], [scores[kind].get(run) for run in runs]) for kind in often]
            found.append(Breakdown(title, rows, len(counts) - len(often)))
    return found


def _properties(has_questions: bool, examples: Sequence[Example]) -> list[Property]:
    objects = Property("object", lambda example: example.objects or ())
    if not has_questions and not all(example.captions for example in examples):
        return [objects]
    if not has_questions:
        words = np.array([np.mean([len(each.split()) for each in example.captions]) for example in examples])
        return [_by_length("words of the references, their mean", examples, words.round().astype(int)), objects]
    words = np.array([len((example.question or "").split()) for example in examples])
    return [
        Property("question type", lambda example: [example.question_type] if example.question_type else []),
        Property("answer type", lambda example: [example.answer_type] if example.answer_type else []),
        _by_length("words of the question", examples, words),
        objects,
    ]


def _by_length(title: str, examples: Sequence[Example], lengths: NDArray[np.int64]) -> Property:
    """Parts of about equal size, named by their lengths: `up to 8`, `9 to 10`, `11 or more`."""
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _PARTS + 1)[1:-1], method="inverted_cdf")).tolist()
    edges = [edge for edge in edges if edge < lengths.max()]
    if not edges:
        return Property(title, lambda example: ())
    between = [(low + 1, high) for low, high in pairwise(edges)]
    names = [f"{low} to {high}" if low < high else str(low) for low, high in between]
    names = [f"up to {edges[0]}", *names, f"{edges[-1] + 1} or more"]
    part = {example.id: names[place] for example, place in zip(examples, np.searchsorted(edges, lengths), strict=True)}
    return Property(title, lambda example: [part[example.id]], names)

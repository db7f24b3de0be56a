"""Scores by properties of the items: length of the references, objects in the image, type of the question."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlrnn.data.records import Example
from vlrnn.metrics.statistics import MeansByImage
from vlrnn.report.group import Group

_MOST = 20  # rows of a breakdown
_FEWEST = 5  # items of a kind, unless all kinds are given
_PARTS = 5  # of a breakdown by length


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

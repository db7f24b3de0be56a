"""Runs that were scored on the same examples, compared item by item. Reads the scores that the runs stored, and
computes none. Independent of pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vlrnn.data.records import Id, Prediction, ScoredExample
from vlrnn.metrics.captions import CaptionScores, compare
from vlrnn.metrics.statistics import Floats
from vlrnn.metrics.vqa import AnswerScores
from vlrnn.report.run import Run

LOWER_IS_BETTER = ("bits_per_character",)
"""Scores of items whose lowest values are the best."""


@dataclass(frozen=True)
class Group:
    """Runs on the same examples; `predictions` and `items` of each, by the example's id."""

    runs: Sequence[Run]
    predictions: Sequence[Mapping[Id, Prediction]]
    items: Sequence[Mapping[Id, ScoredExample]]

    @cached_property
    def examples(self) -> dict[Id, ScoredExample]:
        """All examples; of the first run where several have one."""
        return {id: item for items in reversed(self.items) for id, item in items.items()}

    @cached_property
    def has_questions(self) -> bool:
        """Whether the examples have questions."""
        return any(example.question is not None for example in self.examples.values())

    @cached_property
    def unit(self) -> str:
        """The name of the score that items are ranked by: the first of an item's scores."""
        return next((name for example in self.examples.values() for name in example.scores), "score")

    @cached_property
    def _scored(self) -> list[dict[Id, ScoredExample]]:
        """The items of each run that have the score."""
        return [{id: item for id, item in items.items() if self.unit in item.scores} for items in self.items]

    @cached_property
    def ids(self) -> tuple[Id, ...]:
        """The items that all runs with scores of items have scored."""
        first, *others = [items for items in self._scored if items] or [{}]
        return tuple(id for id in first if id in self.predictions[0] and all(id in items for items in others))

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
    common or none at all; in their order, baselines last."""
    grouped: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: run.baseline):
        group = next((group for group in grouped if _comparable(run, group[0])), None)
        if group is None:
            grouped.append([run])
        else:
            group.append(run)
    return [
        Group(
            runs,
            [{each.id: each for each in run.predictions} for run in runs],
            [{each.id: each for each in run.items} for run in runs],
        )
        for runs in grouped
    ]


def _comparable(run: Run, other: Run) -> bool:
    if run.scored_on or other.scored_on:
        return run.scored_on == other.scored_on
    return bool(run.scores.keys() & other.scores.keys()) or not (run.scores or other.scores)

"""Runs that were scored on the same examples, side by side, item by item. Independent of pages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vlrnn.data.records import Example, Id, Prediction, open_split
from vlrnn.errors import UserError
from vlrnn.metrics.captions import CaptionScorer, CaptionScores, compare
from vlrnn.metrics.statistics import Floats
from vlrnn.metrics.vqa import AnswerScores, compare_answers
from vlrnn.report.run import Run
from vlrnn.text.tokenizers import described_tokenizer
from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL, PROTOCOLS


@dataclass(frozen=True)
class Group:
    """Runs on the same examples.

    `examples` are those of the split that some run has a prediction of, as far as the data is there; `predictions`
    those of each run, by the example's id; `judged` the scores of each, all on the same items: those with predictions
    of all runs and with references. It is empty where there are none.
    """

    runs: Sequence[Run]
    examples: Mapping[Id, Example]
    predictions: Sequence[Mapping[Id, Prediction]]
    judged: Sequence[CaptionScores] | Sequence[AnswerScores]

    @cached_property
    def has_questions(self) -> bool:
        """Whether the examples have questions."""
        return any(example.question is not None for example in self.examples.values())

    @property
    def unit(self) -> str:
        """What an item's score is called."""
        return "accuracy" if self.has_questions else "CIDEr"

    @property
    def ids(self) -> tuple[Id, ...]:
        """The items that all were scored on."""
        return self.judged[0].ids if self.judged else ()

    def values(self, run: int) -> Floats:
        """The score of each item [ids] by a run: CIDEr in 0..10, or accuracy in percent."""
        judged = self.judged[run]
        return judged.per_image["CIDEr"] if isinstance(judged, CaptionScores) else judged.per_question["accuracy"]

    def differences(self, resamples: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
        """The first run's scores less those of each other, by the paired bootstrap over images: name -> `{"value",
        "low", "high", "n", "p"}`."""
        first, *others = self.judged
        if isinstance(first, CaptionScores):
            return [compare(first, other, resamples, seed) for other in others if isinstance(other, CaptionScores)]
        less = [first.less(other, resamples, seed) for other in others if isinstance(other, AnswerScores)]
        return [{name: score for name, score in each.items() if "value" in score} for each in less]


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Bring together the runs that were scored on the same split, or, where they name none, that have scores in
    common; in their order, baselines last."""
    grouped: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: run.baseline):
        group = next((group for group in grouped if _comparable(run, group[0])), None)
        if group is None:
            grouped.append([run])
        else:
            group.append(run)
    return [_group(each) for each in grouped]


def _comparable(run: Run, other: Run) -> bool:
    if run.scored_on or other.scored_on:
        return run.scored_on == other.scored_on
    return bool(run.scores.keys() & other.scores.keys())


def _group(runs: Sequence[Run]) -> Group:
    predictions = [{each.id: each for each in run.predictions} for run in runs]
    examples = _examples(runs[0], set().union(*predictions))
    return Group(runs, examples, predictions, _judge(runs[0], examples, predictions))


def _examples(run: Run, wanted: Iterable[Id]) -> dict[Id, Example]:
    """The examples of a run's split that are wanted, as far as it is still there."""
    if run.scored_on is None:
        return {}
    try:
        split = open_split(*run.scored_on)
    except UserError:
        return {}
    wanted = set(wanted)
    return {example.id: example for example in split if example.id in wanted}


def _judge(
    run: Run, examples: Mapping[Id, Example], predictions: Sequence[Mapping[Id, Prediction]]
) -> list[CaptionScores] | list[AnswerScores]:
    common = {id: each for id, each in examples.items() if all(id in texts for texts in predictions)}
    texts = [{id: each[id].text for id in common if id in each} for each in predictions]
    if any(example.question is not None for example in common.values()):
        rated = {id: each for id, each in common.items() if each.answers}
        protocol = run.settings.get("protocol")
        protocol = protocol if protocol in PROTOCOLS else DEFAULT_PROTOCOL
        return [compare_answers({id: each[id] for id in rated}, rated, protocol) for each in texts] if rated else []
    described = {id: each.captions for id, each in common.items() if each.captions}
    if len(described) < 2:  # CIDEr weighs n-grams by how few images have them
        return []
    scorer = CaptionScorer(described, tokenizer=described_tokenizer(run.settings.get("tokenizer")))
    return [scorer.score({id: each[id] for id in described}) for each in texts]

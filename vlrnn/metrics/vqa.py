"""Scores of answers to visual questions: the official accuracy, exact match and WUPS, over all questions and over those
of each type.

Sources: Antol et al., VQA, ICCV 2015, for the accuracy; Malinowski and Fritz, NIPS 2014, for WUPS and answers that are
sets; Kafle and Kanan, ICCV 2017, for the means per type. All scores are in percent.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlrnn.data.records import Example, Id, ScoredExample
from vlrnn.errors import UserError
from vlrnn.metrics.statistics import Floats, Resampler, difference, interval
from vlrnn.metrics.wups import WordNet
from vlrnn.text.vocabulary import majority, soft_score
from vlrnn.text.vqa_normalization import DEFAULT_PROTOCOL, PROTOCOLS, Protocol, items

TYPES = ("answer_type", "question_type")
WUPS_NAMES = {f"WUPS_{threshold}": threshold for threshold in (0.9, 0.0)}

Path = tuple[str, ...]
"""The path of a score in the results: `("overall",)`, `("per_answer_type", "yes/no")`."""

_CELLS = 1 << 25
"""Numbers in a table of the bootstrap, 256 MB, which limits the types in it."""

MOST_THINGS = 1000
"""Items of an answer that WUPS compares, since time is proportional to the product of the numbers of items."""


@dataclass(frozen=True)
class ScoreGroup:
    """The questions of a mean score, by their indices; at least one."""

    path: Path
    values: Floats  # [members], percent
    members: NDArray[np.int64]


@dataclass(frozen=True)
class AnswerScores:
    """The scores of one set of answers.

    `ids` are the questions; `per_question`: name -> scores [questions] in percent; `types`: the types of each question,
    or None; `clusters` [questions]: index of the image, since questions about one image are not independent and are
    resampled together. `settings` describe protocol and annotators; `notes` are lines about truncated answers.
    """

    ids: tuple[Id, ...]
    per_question: Mapping[str, Floats] = field(repr=False)
    types: Mapping[str, Sequence[str | None]] = field(repr=False)
    clusters: NDArray[np.int64] = field(repr=False)
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @classmethod
    def of_items(cls, items: Sequence[ScoredExample]) -> "AnswerScores":
        """The scores that `items` gave, without their settings."""
        per_question = {name: np.array([each.scores[name] for each in items]) for name in items[0].scores}
        return cls(tuple(each.id for each in items), per_question, _types(items), _clusters(items), {})

    def items(self) -> Iterator[dict[str, Any]]:
        """The `scores` of each question, as `ScoredExample` has them."""
        for scores in zip(*(each.tolist() for each in self.per_question.values()), strict=True):
            yield {"scores": dict(zip(self.per_question, scores, strict=True))}

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def corpus(self) -> dict[Path, float]:
        """Every score over all questions, in percent."""
        sums = np.array([[[part.values.sum(), len(part.members)] for part in self._parts.values()]])
        return {path: float(values[0]) for path, values in self._scores(sums).items()}

    def resampled(self, resamples: int = 1000, seed: int = 0) -> dict[Path, Floats]:
        """Every score on the resampled sets of images [resamples]; NaN where a set has no question of a type."""
        images = int(self.clusters.max()) + 1
        resampler, parts = Resampler(images, resamples, seed), list(self._parts.values())
        step = max(1, _CELLS // (2 * images))
        blocks = (parts[first : first + step] for first in range(0, len(parts), step))
        return self._scores(np.concatenate([resampler.sums(self._table(block, images)) for block in blocks], axis=1))

    def with_intervals(self, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
        """The `scores` of a metrics.json: `overall`, other means, and per type, each `{"value", "low", "high", "n"}`
        with a 95 % bootstrap interval over images."""
        samples = self.resampled(resamples, seed)
        return _nested({path: interval(value, samples[path], self._n(path)) for path, value in self.corpus.items()})

    def less(self, other: "AnswerScores", resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
        """These scores minus those of another system, by the paired bootstrap over images: as `with_intervals`, with
        the two-sided p value `p` of the hypothesis of no difference.

        Raises:
            UserError: the two were not scored on the same questions.
        """
        if self.ids != other.ids:
            raise UserError("the two sets of answers were not scored on the same questions")
        samples, others = self.resampled(resamples, seed), other.resampled(resamples, seed)
        return _nested(
            {
                path: difference(value - other.corpus[path], samples[path] - others[path], self._n(path))
                for path, value in self.corpus.items()
            }
        )

    @cached_property
    def _parts(self) -> dict[Path, ScoreGroup]:
        accuracy = self.per_question["accuracy"]
        everything = np.arange(len(self))
        parts = [ScoreGroup(("overall",), accuracy, everything)]
        parts += [
            ScoreGroup((name,), values, everything) for name, values in self.per_question.items() if name != "accuracy"
        ]
        for kind in TYPES:
            members: dict[str, list[int]] = {}
            for place, name in enumerate(self.types[kind]):
                if name is not None:
                    members.setdefault(name, []).append(place)
            parts += [
                ScoreGroup((f"per_{kind}", name), accuracy[those], np.array(those))
                for name, those in sorted(members.items())
            ]
        return {part.path: part for part in parts}

    def _table(self, parts: Sequence[ScoreGroup], images: int) -> Floats:
        """The sum of the scores and the number of questions of each image: [images, parts, 2]."""
        table = np.empty((images, len(parts), 2))
        for place, part in enumerate(parts):
            clusters = self.clusters[part.members]
            table[:, place, 0] = np.bincount(clusters, part.values, images)
            table[:, place, 1] = np.bincount(clusters, minlength=images)
        return table

    def _scores(self, sums: Floats) -> dict[Path, Floats]:
        """The scores [sets] of sets of questions, from their sums [sets, parts, 2]."""
        with np.errstate(divide="ignore", invalid="ignore"):
            means = sums[..., 0] / sums[..., 1]
            scores = {path: means[:, place] for place, path in enumerate(self._parts)}
            for kind in TYPES:
                of_types = [values for path, values in scores.items() if path[0] == f"per_{kind}"]
                if of_types:
                    each = np.stack(of_types)
                    present = (~np.isnan(each)).sum(axis=0)
                    scores[f"arithmetic_mean_per_{kind}",] = np.nansum(each, axis=0) / present
                    scores[f"harmonic_mean_per_{kind}",] = present / np.nansum(1 / each, axis=0)
        return scores

    def _n(self, path: Path) -> int:
        if path[0].startswith(("arithmetic", "harmonic")):
            kind = path[0].partition("_per_")[2]
            return sum(name is not None for name in self.types[kind])
        return len(self._parts[path].members)


def compare_answers(
    predictions: Mapping[Id, str],
    examples: Mapping[Id, Example],
    protocol: str = DEFAULT_PROTOCOL,
    wordnet: WordNet | None = None,
) -> AnswerScores:
    """Score answers against those of the annotators.

    The accuracy of an answer is the mean, over the n ways of leaving one of n annotators out, of min(1, number of
    agreeing annotators / 3); with a single annotator it is equality. Exact match and WUPS compare with the majority
    answer as a set of items (`chair, table`).

    Args:
        predictions: question id -> answer.
        examples: question id -> the question with its annotators' answers, for exactly these questions.
        protocol: a name of `vlrnn.text.vqa_normalization.PROTOCOLS`.
        wordnet: for WUPS; None: not computed.

    Raises:
        UserError: the ids differ, there are none, a question has no answers, or there is no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"there is no protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
    _check(predictions, examples)
    rule = PROTOCOLS[protocol]
    names = ("accuracy", "exact_match", *(WUPS_NAMES if wordnet else ()))
    per_question: dict[str, list[float]] = {name: [] for name in names}
    cut = 0
    for id, example in examples.items():
        per_question["accuracy"].append(_accuracy(predictions[id], example, rule))
        predicted, right = items(predictions[id]), items(majority(example.answers))
        per_question["exact_match"].append(100.0 * (set(predicted) == set(right)))
        if wordnet:
            cut += max(len(predicted), len(right)) > MOST_THINGS
            for name, threshold in WUPS_NAMES.items():
                likeness = wordnet.wups(predicted[:MOST_THINGS], right[:MOST_THINGS], threshold)
                per_question[name].append(100 * likeness)
    annotators = [len(example.answers) for example in examples.values()]
    clusters = _clusters(examples.values())
    return AnswerScores(
        ids=tuple(examples),
        per_question={name: np.array(values) for name, values in per_question.items()},
        types=_types(examples.values()),
        clusters=clusters,
        settings={
            "protocol": protocol,
            "unit": "percent",
            "n": len(examples),
            "images": int(clusters.max()) + 1,
            "annotators": {"least": min(annotators), "most": max(annotators)},
        },
        notes=(f"WUPS: of {cut} questions only the first {MOST_THINGS:,} things are compared",) if cut else (),
    )


def _types(examples: Iterable[Example]) -> dict[str, list[str | None]]:
    return {kind: [getattr(example, kind) for example in examples] for kind in TYPES}


def _clusters(examples: Iterable[Example]) -> NDArray[np.int64]:
    """The number of each question's image; images are sorted, so that intervals do not depend on the order of the
    questions."""
    ids = [each.image_id for each in examples]
    numbers = {image: number for number, image in enumerate(sorted(set(ids), key=str))}
    return np.array([numbers[each] for each in ids])


def accuracies(predictions: Mapping[Id, str], examples: Mapping[Id, Example], protocol: str) -> Floats:
    """The accuracy of each answer [questions], in percent, under a protocol; see `compare_answers`."""
    return np.array([_accuracy(predictions[id], each, PROTOCOLS[protocol]) for id, each in examples.items()])


def _accuracy(prediction: str, example: Example, rule: Protocol) -> float:
    answer, answers = rule(prediction, example.answers)
    return 100 * soft_score(answers.count(answer), len(answers))


def _check(predictions: Mapping[Id, str], examples: Mapping[Id, Example]) -> None:
    if not examples:
        raise UserError("there are no questions to score")
    for problem, ids in (
        ("questions have no prediction", [id for id in examples if id not in predictions]),
        ("predictions are for other questions", [id for id in predictions if id not in examples]),
        ("questions have no answers", [id for id, example in examples.items() if not example.answers]),
    ):
        if ids:
            raise UserError(f"{len(ids)} {problem}, the first is {ids[0]!r}")


def _nested(scores: Mapping[Path, Mapping[str, float | int]]) -> dict[str, Any]:
    """The form of result files: types are nested in `per_answer_type` and `per_question_type`."""
    means: dict[str, Any] = {path[0]: score for path, score in scores.items() if len(path) == 1}
    per_type = {kind: {path[1]: score for path, score in scores.items() if path[0] == f"per_{kind}"} for kind in TYPES}
    return means | {f"per_{kind}": of_types for kind, of_types in per_type.items()}

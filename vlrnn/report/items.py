"""Outputs of runs, item by item: which are shown, with what. Independent of pages; opens no picture."""

from base64 import b64decode
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from vlrnn.data.records import AttentionMaps, Id, Prediction, ScoredExample
from vlrnn.errors import UserError
from vlrnn.probes.object_mentions import Mentions, mentions
from vlrnn.report.group import LOWER_IS_BETTER, Group

GALLERY = 8
"""Number of the best, the worst and the random items at the top."""

_OTHERS = 5  # other hypotheses that are shown


@dataclass(frozen=True)
class ItemOutput:
    """Output of a run for an item: its score; its confidence, the `score` of its prediction; its words, with the log
    probability of each and, last, of the end; other hypotheses, each a text with its score; and its attention maps.
    Empty where absent."""

    text: str
    score: float | None = None
    confidence: float | None = None
    tokens: Sequence[str] = ()
    log_probs: Sequence[float] = ()
    others: Sequence[Mapping[str, Any]] = ()
    attention: AttentionMaps | None = None


@dataclass(frozen=True)
class ReportItem:
    """An example, and the output of each run, in their order. `picture` is its number among the report's pictures;
    `references` are captions or answers of annotators; `hallucinated` are objects that the first run mentions and the
    example does not have, None of an example without a list of objects."""

    id: Id
    image: str
    picture: int | None
    question: str
    question_type: str
    references: Sequence[str]
    objects: Sequence[str]
    hallucinated: Sequence[str] | None
    outputs: Sequence[ItemOutput | None]


@dataclass(frozen=True)
class ShownItems:
    """The items of a report, the worst first where there are scores; `best`, `worst` and `random` are places in
    `items`. `total` counts all items of the group."""

    items: Sequence[ReportItem]
    best: Sequence[int]
    worst: Sequence[int]
    random: Sequence[int]
    total: int


@dataclass
class Pictures:
    """The image files of a report, each once."""

    numbers: dict[Path, int] = field(default_factory=dict)

    def number(self, path: Path) -> int:
        return self.numbers.setdefault(path.resolve(), len(self.numbers))


def shown(group: Group, most: int, pictures: Pictures, seed: int = 0) -> ShownItems:
    """Choose and build the items of a report.

    Args:
        group: the runs; items are those that the first has predictions of.
        most: items at most: of them a tenth the best, two tenths the worst, and the rest drawn at random.
        pictures: gets the image files of the items.
        seed: of the random items.
    """
    values = [group.values(run) for run in range(len(group.runs))]
    scores = [{} if each is None else dict(zip(group.ids, each.tolist(), strict=True)) for each in values]
    first, sign = group.predictions[0], -1 if group.unit in LOWER_IS_BETTER else 1

    def rank(id: Id) -> tuple[float, float]:
        """The score; of equal ones the confidence if right, its negative if wrong."""
        score, confidence = scores[0][id], first[id].score or 0.0
        return sign * score, confidence if score > 0 else -confidence

    ranked = sorted(scores[0], key=rank)
    ids = ranked or list(first)
    order = Random(seed).sample(range(len(ids)), len(ids))
    order.sort(key=lambda place: not first[ids[place]].alternatives)  # of a text, few passages have any
    best, worst = (most // 10, 2 * most // 10) if ranked else (0, 0)
    picked = dict.fromkeys((*range(worst), *range(len(ids) - best, len(ids)), *order)) if len(ids) > most else {}
    places = sorted([*picked][:most] if picked else order)
    build = ItemBuilder(group, scores, pictures, {ids[place] for place in places})
    count = min(GALLERY, len(places))
    return ShownItems(
        items=[build(ids[place]) for place in places],
        best=[*range(len(places) - 1, len(places) - 1 - count, -1)] if ranked else [],
        worst=[*range(count)] if ranked else [],
        random=[number for number, place in enumerate(places) if place in order[:count]],
        total=len(ids),
    )


class ItemBuilder:
    """From an id to the item of a group."""

    def __init__(
        self, group: Group, scores: Sequence[Mapping[Id, float]], pictures: Pictures, wanted: Container[Id]
    ) -> None:
        self.group, self.scores, self.pictures = group, scores, pictures
        self.attention = {each.id: _checked(each) for each in group.runs[0].attention if each.id in wanted}
        named = {name for example in group.examples.values() for name in example.objects or ()}
        self.find: Mentions | None = mentions("fixed", sorted(named)) if named and not group.has_questions else None

    def __call__(self, id: Id) -> ReportItem:
        example = self.group.examples.get(id, ScoredExample(id, id, ""))
        answers = Counter(example.answers).most_common()
        counted = [answer if count == 1 else f"{answer} ({count})" for answer, count in answers]
        named = self.find(self.group.predictions[0][id].text) if self.find and example.objects is not None else None
        return ReportItem(
            id=id,
            image=example.image,
            picture=self.pictures.number(self.group.runs[0].image_root / example.image) if example.image else None,
            question=example.question or "",
            question_type=example.question_type or "",
            references=[*dict.fromkeys(example.captions), *counted],
            objects=example.objects or (),
            hallucinated=named and [*dict.fromkeys(each for each in named if each not in (example.objects or ()))],
            outputs=[self._output(run, texts.get(id)) for run, texts in enumerate(self.group.predictions)],
        )

    def _output(self, run: int, prediction: Prediction | None) -> ItemOutput | None:
        """The whole output of the first run; of the others the parts that are compared."""
        if prediction is None:
            return None
        score = self.scores[run].get(prediction.id)
        full = run == 0 or (self.group.has_questions and not self.group.runs[run].baseline)
        others = prediction.alternatives[:_OTHERS] if full else ()
        hypotheses = [{"text": str(each.get("text", "")), "score": each.get("score")} for each in others]
        if run > 0:
            return ItemOutput(prediction.text, score, prediction.score, others=hypotheses)
        maps, words = self.attention.get(prediction.id), (prediction.tokens, prediction.log_probs)
        return ItemOutput(prediction.text, score, prediction.score, *words, hypotheses, maps)


def _checked(attention: AttentionMaps) -> AttentionMaps:
    """The maps, checked: each word has the same number of weights, and all have a gate or none.

    Raises:
        UserError: they do not.
    """
    words = len(attention.peaks)
    try:
        weights = len(b64decode(attention.maps, validate=True))
    except ValueError:
        weights = -1
    if words == 0 or weights <= 0 or weights % words or len(attention.gates) not in (0, words):
        raise UserError(
            f"attention.jsonl: the maps of {attention.id!r} are not those of its {words} peaks; run vlrnn test again"
        )
    return attention

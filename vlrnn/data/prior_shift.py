"""Questions whose answers have other priors in test than in train, as VQA-CP (Agrawal et al. 2018) has them: a model
that has learnt what a type of question is mostly answered with is found out.

Questions are only left out: none is changed, and none changes its split.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.text.answer_vocabulary import majority
from vlrnn.text.vqa_normalization import canonical_answer

Order = Mapping[str, Sequence[str]]
"""Question type -> its answers, from the one that is to become frequent to the one that is to become rare."""


def draw_order(examples: Iterable[Example], seed: int) -> Order:
    """An order of the answers of every question type, drawn by chance."""
    answers: dict[str, set[str]] = {}
    for example in examples:
        if example.answers:
            answers.setdefault(example.question_type or "", set()).add(_right(example))
    order = {question_type: sorted(each) for question_type, each in sorted(answers.items())}
    for each in order.values():
        Random(f"{seed}/{each}").shuffle(each)
    return order


def shift(
    examples: Iterable[Example], order: Order, strength: float, seed: int, *, reverse: bool = False
) -> list[Example]:
    """Leave questions out, so that the answers that stand first in the order become frequent.

    The first answer of a type is kept always, the last with probability 1 - strength, and those between them in
    geometric steps; answers that the order does not have are left out.

    Args:
        examples: with their answers.
        order: of `draw_order`.
        strength: 0 to 1, of which 0 leaves nothing out.
        seed: whatever else is the same, another one leaves others out.
        reverse: make those frequent that stand last.

    Raises:
        UserError: the strength is not between 0 and 1.
    """
    if not 0 <= strength < 1:
        raise UserError(f"a strength must be at least 0 and below 1, not {strength}")
    retained = {}
    for question_type, answers in order.items():
        last = max(1, len(answers) - 1)
        places = range(len(answers))
        for answer, place in zip(answers, reversed(places) if reverse else places, strict=True):
            retained[question_type, answer] = (1 - strength) ** (place / last)
    return [
        example
        for example in examples
        if example.answers
        and Random(f"{seed}/{example.id}").random() < retained.get((example.question_type or "", _right(example)), 0.0)
    ]


def _right(example: Example) -> str:
    return majority(list(map(canonical_answer, example.answers)))

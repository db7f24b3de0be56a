"""Shifted answer priors, as of VQA-CP (Agrawal et al. 2018): subsets of train and test with different answer
distributions for each question type, on which a model that relies on the priors of train fails.

Questions are only left out; none is changed or moved to another split.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.text.answer_vocabulary import majority
from vlrnn.text.vqa_normalization import canonical_answer

Order = Mapping[str, Sequence[str]]
"""Question type -> its answers, from the one that becomes most frequent to the one that becomes rarest."""


def draw_order(examples: Iterable[Example], seed: int) -> Order:
    """A random order of the answers of every question type."""
    answers: dict[str, set[str]] = {}
    for example in examples:
        if example.answers:
            answers.setdefault(example.question_type or "", set()).add(correct(example))
    order = {question_type: sorted(each) for question_type, each in sorted(answers.items())}
    for each in order.values():
        Random(f"{seed}/{each}").shuffle(each)
    return order


def shift(
    examples: Iterable[Example], order: Order, strength: float, seed: int, *, reverse: bool = False
) -> list[Example]:
    """Leave questions out, so that the first answers of the order become frequent.

    A question with the first answer of a type is always retained, with the last one with probability 1 - strength, and
    with those in between with probabilities in geometric steps; answers that are not in the order are left out.

    Args:
        examples: with answers.
        order: of `draw_order`.
        strength: from 0, which leaves nothing out, to below 1.
        seed: of the random choice of questions.
        reverse: make the last answers of the order frequent instead.

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
        and Random(f"{seed}/{example.id}").random() < retained.get((example.question_type or "", correct(example)), 0.0)
    ]


def correct(example: Example) -> str:
    """The majority of the normalised answers."""
    return majority(list(map(canonical_answer, example.answers)))

"""The closed set of answers that a classifier chooses from, and what the annotators' answers are worth."""

from collections import Counter
from collections.abc import Iterable, Sequence

from vlrnn.errors import UserError
from vlrnn.parts import Part


class AnswerSet(Part):
    """Answers in the order of their ids.

    Args:
        answers: normalised, each once.
    """

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = tuple(answers)
        self._ids = {answer: id for id, answer in enumerate(self.answers)}
        if not self.answers:
            raise UserError("the set of answers is empty; lower data.min_answer_count")
        if len(self._ids) < len(self.answers):
            twice = next(answer for answer, count in Counter(self.answers).items() if count > 1)
            raise UserError(f"the set of answers holds {twice!r} twice")

    @classmethod
    def count(cls, questions: Iterable[Sequence[str]], most: int | None = None, min_count: int = 1) -> "AnswerSet":
        """The answers that are the majority's for at least `min_count` questions of the training split, and of them the
        `most` frequent; alphabetically among equals, so that the same questions give the same ids."""
        counts = Counter(majority(answers) for answers in questions if answers)
        kept = [answer for answer, count in counts.items() if count >= min_count]
        return cls(sorted(kept, key=lambda answer: (-counts[answer], answer))[:most])

    def __len__(self) -> int:
        return len(self.answers)

    def __contains__(self, answer: str) -> bool:
        return answer in self._ids

    def id(self, answer: str) -> int | None:
        """The id of an answer, where it is in the set."""
        return self._ids.get(answer)

    def counts(self, answers: Iterable[str]) -> dict[int, int]:
        """Id -> how many annotators gave that answer; answers that are not of the set are left out."""
        return {self._ids[answer]: count for answer, count in Counter(answers).items() if answer in self._ids}


def majority(answers: Sequence[str]) -> str:
    """The answer that most annotators gave; among equals the one that was given first."""
    return Counter(answers).most_common(1)[0][0]


def worth(count: int, annotators: int) -> float:
    """The accuracy, in 0..1, of an answer that `count` of so many annotators gave: min(1, those who agree / 3), the
    mean over the sets that leave one annotator out (Antol et al. 2015); of a single one's, whether it is the same."""
    if annotators == 1:
        return float(count)
    one_of_them, another = min(1.0, max(0, count - 1) / 3), min(1.0, count / 3)
    return (count * one_of_them + (annotators - count) * another) / annotators

"""The answer classes of a classifier, answer priors, and soft scores of annotators' answers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from vlrnn.config import Configurable
from vlrnn.errors import UserError


class AnswerVocabulary(Configurable):
    """Answers in the order of their ids.

    Args:
        answers: normalised, each once.
    """

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = tuple(answers)
        self._ids = {answer: id for id, answer in enumerate(self.answers)}
        if not self.answers:
            raise UserError("the set of answers is empty")
        if len(self._ids) < len(self.answers):
            twice = next(answer for answer, count in Counter(self.answers).items() if count > 1)
            raise UserError(f"the set of answers holds {twice!r} twice")

    @classmethod
    def top_answers(cls, counts: Mapping[str, int], most: int | None = None, min_count: int = 1) -> "AnswerVocabulary":
        """The `most` frequent of the answers that are correct for at least `min_count` questions; ties are in
        alphabetical order, so that ids are deterministic."""
        retained = [answer for answer, count in counts.items() if count >= min_count]
        return cls(sorted(retained, key=lambda answer: (-counts[answer], answer))[:most])

    def __len__(self) -> int:
        return len(self.answers)

    def __contains__(self, answer: str) -> bool:
        return answer in self._ids

    def id(self, answer: str) -> int | None:
        """The id of an answer; None if it is not in the set."""
        return self._ids.get(answer)

    def counts(self, answers: Iterable[str]) -> dict[int, int]:
        """Id -> number of annotators who gave that answer; answers outside the set are left out."""
        return {self._ids[answer]: count for answer, count in Counter(answers).items() if answer in self._ids}


class AnswerPrior(Configurable):
    """The counts of correct answers of each question type in the training split, the prior without an image.

    Args:
        counts: question type -> answer -> number of questions; "" for questions without a type.
    """

    def __init__(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        self.counts = counts
        if not self.overall:
            raise UserError("no training question has an answer")

    @cached_property
    def overall(self) -> Mapping[str, int]:
        """Answer -> number of questions, over all types."""
        return sum(map(Counter, self.counts.values()), Counter())

    def of(self, question_type: str | None) -> Mapping[str, int]:
        """Answer -> number of questions of a type; of all types if it is not in training."""
        return self.counts.get(question_type or "", self.overall)


def majority(answers: Sequence[str]) -> str:
    """The answer of most annotators; the first given one among ties."""
    counts = Counter(answers)
    return max(counts, key=counts.__getitem__)


def soft_score(count: int, annotators: int) -> float:
    """The accuracy, in 0..1, of an answer that `count` of the annotators gave: the mean of min(1, agreeing annotators /
    3) over the sets without one annotator (Antol et al. 2015); with a single annotator, equality."""
    if annotators == 1:
        return float(count)
    one_of_them, another = min(1.0, max(0, count - 1) / 3), min(1.0, count / 3)
    return (count * one_of_them + (annotators - count) * another) / annotators

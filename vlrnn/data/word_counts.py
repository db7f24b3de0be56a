"""How often which word stands in a training split, and which answer is right how often. Knows no ids."""

from collections import Counter
from collections.abc import Iterable, Iterator

from vlrnn.records import Example
from vlrnn.text.answer_set import majority
from vlrnn.text.answers import canonical, spell
from vlrnn.text.tokenizer import tokenize


def count_words(examples: Iterable[Example]) -> dict[str, dict]:
    """Go through a split once.

    Returns:
        `words`, of captions, or of questions and their answers: word -> count; and `answers`: question type (`""` where
        there is none) -> answer that most annotators gave -> count. All in the order in which they come first.
    """
    answers: dict[str, Counter[str]] = {}

    def texts() -> Iterator[list[str]]:
        for example in examples:
            yield from map(tokenize, example.captions)
            if example.question is not None:
                yield tokenize(example.question)
            if example.answers:
                canon = list(map(canonical, example.answers))
                yield from map(spell, set(canon))
                if right := majority(canon):  # of `a` nothing is left
                    answers.setdefault(example.question_type or "", Counter())[right] += 1

    return {"words": Counter(word for text in texts() for word in text), "answers": answers}

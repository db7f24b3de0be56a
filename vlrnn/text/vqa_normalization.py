"""Normalisation of answers for VQA accuracy: that of the official evaluation, its two protocols and one that always
normalises; answers that are sets.

Source: Antol et al., VQA, ICCV 2015, and `vqaEval.py` of GT-Vision-Lab/VQA, the evaluation of the challenge. Its
peculiarities are reproduced, with comments.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from vlrnn.text.tokenizers import WORDS, CaptionTokenizer

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_ANY_MARK = re.compile(f"[{re.escape(_MARKS)}.]")
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS_REMOVED = 32  # the official code passes re.UNICODE, which is 32, to `sub` as its `count`
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


_CONTRACTIONS = Path(__file__).with_name("contractions.txt").read_text("utf-8").splitlines()

# Word -> its replacement; empty for an article.
_WORDS = {
    **dict(line.split() for line in _CONTRACTIONS if not line.startswith("#")),
    **{word: str(number) for number, word in enumerate(_DIGITS)},
    "none": "0",
    **dict.fromkeys(("a", "an", "the"), ""),
}


@lru_cache(maxsize=1 << 16)
def normalize_answer(answer: str) -> str:
    """An answer as normalised by the official evaluation: without punctuation, in lower case, number words as digits,
    without articles, contractions with apostrophes."""
    words = (_WORDS.get(word, word) for word in without_punctuation(clean(answer)).lower().split())
    return " ".join(filter(None, words))


@lru_cache(maxsize=1 << 16)
def clean(answer: str) -> str:
    """An answer on one line, without surrounding white space."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 16)
def without_punctuation(text: str) -> str:
    """The first step of `normalize_answer`. A mark is replaced by a space, or removed if it is next to a space anywhere
    in the text; with a comma between digits anywhere, all marks are removed. A period is removed unless a digit
    follows."""
    if not _ANY_MARK.search(text):
        return text
    number = _COMMA_IN_NUMBER.search(text)
    becomes: dict[str, str | int | None] = {
        mark: "" if number or f"{mark} " in text or f" {mark}" in text else " " for mark in set(text) & set(_MARKS)
    }
    return _PERIOD.sub("", text.translate(str.maketrans(becomes)), count=_PERIODS_REMOVED)


@lru_cache(maxsize=1 << 16)
def canonical_answer(answer: str) -> str:
    """An answer as a training target: normalised, each item of a set (`chair, table`) separately."""
    return ", ".join(filter(None, map(normalize_answer, answer.split(", "))))


def answer_to_tokens(answer: str, tokenizer: CaptionTokenizer = WORDS) -> list[str]:
    """The tokens of an answer as decoder targets: those of captions, and `,` between the items of a set."""
    first, *others = map(tokenizer.tokenize, answer.split(", "))
    return first + [word for other in others if other for word in (",", *other)]


def tokens_to_answer(words: Sequence[str], tokenizer: CaptionTokenizer = WORDS) -> str:
    """The answer of these tokens; the inverse of `answer_to_tokens`."""
    things = [list(run) for comma, run in groupby(words, ",".__eq__) if not comma]
    return ", ".join(map(tokenizer.detokenize, things))


@lru_cache(maxsize=1 << 16)
def items(answer: str) -> tuple[str, ...]:
    """The comma-separated items of an answer, in lower case, underscores as spaces: `chair, table_lamp` of DAQUAR has
    two."""
    return tuple(" ".join(item.lower().replace("_", " ").split()) for item in answer.split(","))


Protocol = Callable[[str, Sequence[str]], tuple[str, Sequence[str]]]
"""Normalises a model's answer and those of the annotators, which are then compared as strings."""


def official_2021(answer: str, answers: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The evaluation since 2021: all answers are normalised, unless those of all annotators are equal; then none is."""
    cleaned = list(map(clean, answers))
    if len(set(cleaned)) > 1:
        return normalize_answer(answer), list(map(normalize_answer, cleaned))
    return clean(answer), cleaned


def official_2017(answer: str, answers: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The evaluation before 2021: the model's answer is always normalised; of those of the annotators only the
    punctuation, unless all are equal. So `2 dogs` and `two dogs` differ."""
    if len(set(answers)) > 1:
        return normalize_answer(answer), list(map(without_punctuation, answers))
    return normalize_answer(answer), answers


def normalized(answer: str, answers: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Not an official evaluation: all answers are always normalised, so that `red.` is `red` in every data set."""
    return normalize_answer(clean(answer)), [normalize_answer(clean(each)) for each in answers]


PROTOCOLS: dict[str, Protocol] = {
    "official-2021": official_2021,
    "official-2017": official_2017,
    "normalized": normalized,
}
DEFAULT_PROTOCOL = "official-2021"

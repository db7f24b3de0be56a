"""Answers to visual questions as they are compared: the normalisation of the official VQA evaluation, its two
protocols and one that always normalises, and answers that are sets.

Source: Antol et al., VQA, ICCV 2015, and `vqaEval.py` of GT-Vision-Lab/VQA, the evaluation that the challenge ran.
Where it does something odd, this does it too, with a comment.
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
_PERIODS_REMOVED = 32  # the official code hands re.UNICODE, which is 32, to `sub` where its `count` stands
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def _read_contractions() -> dict[str, str]:
    lines = Path(__file__).with_name("contractions.txt").read_text("utf-8").splitlines()
    return dict(line.split() for line in lines if not line.startswith("#"))


# Word -> what stands for it; nothing for an article.
_WORDS = {
    **_read_contractions(),
    **{word: str(number) for number, word in enumerate(_DIGITS)},
    "none": "0",
    **dict.fromkeys(("a", "an", "the"), ""),
}


@lru_cache(maxsize=1 << 16)
def normalize_answer(answer: str) -> str:
    """An answer as the official evaluation compares it: without punctuation, then in lower case, with number words as
    digits, without articles, and with the apostrophes of contractions."""
    words = (_WORDS.get(word, word) for word in without_punctuation(clean(answer)).lower().split())
    return " ".join(filter(None, words))


@lru_cache(maxsize=1 << 16)
def clean(answer: str) -> str:
    """An answer in one line, without space around it."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 16)
def without_punctuation(text: str) -> str:
    """The first step of `normalize_answer`. A mark becomes a space, or nothing where a space is beside it anywhere in
    the text; with a comma between digits anywhere, every mark becomes nothing. A period goes unless a digit follows."""
    if not _ANY_MARK.search(text):
        return text
    number = _COMMA_IN_NUMBER.search(text)
    becomes: dict[str, str | int | None] = {
        mark: "" if number or f"{mark} " in text or f" {mark}" in text else " " for mark in set(text) & set(_MARKS)
    }
    return _PERIOD.sub("", text.translate(str.maketrans(becomes)), count=_PERIODS_REMOVED)


@lru_cache(maxsize=1 << 16)
def canonical_answer(answer: str) -> str:
    """An answer as a training target: normalised, the things of a set (`chair, table`) each by itself."""
    return ", ".join(filter(None, map(normalize_answer, answer.split(", "))))


def answer_to_tokens(answer: str, tokenizer: CaptionTokenizer = WORDS) -> list[str]:
    """The tokens of an answer as decoder targets: those of captions, and `,` between the things of a set."""
    first, *others = map(tokenizer.tokenize, answer.split(", "))
    return first + [word for other in others if other for word in (",", *other)]


def tokens_to_answer(words: Sequence[str], tokenizer: CaptionTokenizer = WORDS) -> str:
    """The answer that words spell."""
    things = [list(run) for comma, run in groupby(words, ",".__eq__) if not comma]
    return ", ".join(map(tokenizer.detokenize, things))


@lru_cache(maxsize=1 << 16)
def items(answer: str) -> tuple[str, ...]:
    """The things that an answer names, divided by commas: of DAQUAR's `chair, table_lamp` the two, in lower case, with
    spaces for underscores."""
    return tuple(" ".join(item.lower().replace("_", " ").split()) for item in answer.split(","))


Protocol = Callable[[str, Sequence[str]], tuple[str, Sequence[str]]]
"""What becomes of a model's answer and the annotators' before they are compared by spelling."""


def official_2021(answer: str, answers: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The evaluation since 2021: all are normalised, unless all annotators wrote the same; then none is."""
    cleaned = list(map(clean, answers))
    if len(set(cleaned)) > 1:
        return normalize_answer(answer), list(map(normalize_answer, cleaned))
    return clean(answer), cleaned


def official_2017(answer: str, answers: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The evaluation before 2021: the model's answer is always normalised; of the annotators' only the punctuation is,
    unless all of them wrote the same. So `2 dogs` and `two dogs` differ, whoever wrote which."""
    if len(set(answers)) > 1:
        return normalize_answer(answer), list(map(without_punctuation, answers))
    return normalize_answer(answer), answers


def normalized(answer: str, answers: Sequence[str]) -> tuple[str, Sequence[str]]:
    """No official evaluation: all are normalised, also where a single annotator answered, or all wrote the same, so
    that `red.` is `red` in every data set."""
    return normalize_answer(clean(answer)), [normalize_answer(clean(each)) for each in answers]


PROTOCOLS: dict[str, Protocol] = {
    "official-2021": official_2021,
    "official-2017": official_2017,
    "normalized": normalized,
}
DEFAULT_PROTOCOL = "official-2021"

"""Index of a split: its images, the image of each example, and counts of words and answers."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vlrnn.data.record_ids import Id, check_each_once
from vlrnn.data.records import Example, RecordFile
from vlrnn.errors import UserError
from vlrnn.progress import track
from vlrnn.sidecar_cache import cached_arrays
from vlrnn.text.tokenizers import WORDS, CaptionTokenizer, is_unspaced, is_wordless, warn_of_unspaced
from vlrnn.text.vocabulary import SPECIAL, Vocabulary, majority
from vlrnn.text.vqa_normalization import answer_to_tokens, canonical_answer


class SplitImages(Sequence[str]):
    """The unique image names of a split, in order of first occurrence. The index is stored in a sidecar cache of the
    split file.

    Args:
        examples: of the split.

    Attributes:
        of_example: [E], index of each example's image.

    Raises:
        UserError: an id occurs twice.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        if isinstance(examples, RecordFile):
            path, gone_through = examples.path, track(examples, f"images of {examples.path.stem}", unit="examples")
            found = cached_arrays(path, "images", lambda: _number(examples, gone_through, str(path)))
        else:
            found = _number(examples, examples, "the split")
        self.of_example: np.ndarray = found["of_example"]
        self._first: np.ndarray = found["first"]

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, number: int) -> str:  # type: ignore[override]
        return self.first_example(number).image

    def first_example(self, number: int) -> Example:
        """The first example of an image."""
        return self.examples[int(self._first[number])]


def _number(examples: Sequence[Example], gone_through: Iterable[Example], where: str) -> Mapping[str, np.ndarray]:
    numbers: dict[str, int] = {}
    found = array("q")

    def ids() -> Iterator[Id]:
        for each in gone_through:
            found.append(numbers.setdefault(each.image, len(numbers)))
            yield each.id

    check_each_once(ids(), lambda place: examples[place].id, where)
    of_example = np.array(found, np.int64)
    return {"of_example": of_example, "first": np.unique(of_example, return_index=True)[1]}


def check_scored(examples: Sequence[Example], has_questions: bool, place: str, *, chooses: bool) -> None:
    """Check, before hours of work, that a split can be scored.

    Args:
        examples: of the split.
        has_questions: whether they are questions.
        place: the file of the split, for errors.
        chooses: whether its scores select the best checkpoint; otherwise captions or answers may be absent.

    Raises:
        UserError: there are too few examples; or, with `chooses`, no question has an answer or an image has no caption.
    """
    count, least = len(examples), 1 if has_questions else 2
    if count < least:
        raise UserError(
            f"{place}: scores need {'a question' if has_questions else 'two images'} at least; there are {count}"
        )
    if not chooses:
        return
    if has_questions:
        bare = [] if any(each.answers for each in examples) else ["none of its questions has answers"]
    else:
        bare = [f"{each.id!r} has no captions" for each in examples if not each.captions]
    if bare:
        more = f", nor have {len(bare) - 1} more" if len(bare) > 1 else ""
        raise UserError(f"{place}: {bare[0]}{more}; fit selects the best model by the scores of this split")


_LEAST_SHARE, _LEAST_SIZE = 90, 20
"""Coverage in percent of the running words, and number of words, below which a warning is printed."""
_CUT = {
    "caption": " and are cut there, without an end token: raise data.max_length to avoid this",
    "question": " and are cut there: raise data.max_question_length to avoid this",
    "answer": ", and are cut there: raise data.max_answer_length to avoid this",
}
"""Kind of text -> what becomes of those that are too long."""


def count_words(examples: Sequence[Example], tokenizer: CaptionTokenizer, where: str) -> dict[str, dict[str, Any]]:
    """Count words, answers and lengths in one pass over a split.

    Args:
        examples: of the split.
        tokenizer: of the words.
        where: the split, for errors.

    Returns:
        `words`, of captions, or of questions and their answers: word -> count; `answers`: question type (`""` if there
        is none) -> majority answer -> count; `lengths`, of `caption`, `question` and `answer`: number of words (as
        text) -> count; and `texts`: the number of captions and questions, `all`, of captions without words, `wordless`,
        and of texts without spaces, `unspaced`. Keys are in order of first occurrence.

    Raises:
        UserError: an id occurs twice.
    """
    answers: dict[str, Counter[str]] = {}
    words, texts = Counter[str](), Counter[str](all=0, wordless=0, unspaced=0)
    lengths = {kind: Counter[str]() for kind in ("caption", "question", "answer")}

    def count(kind: str, text: str) -> None:
        words.update(tokens := tokenizer.tokenize(text))
        lengths[kind][str(len(tokens))] += 1

    def ids() -> Iterator[int | str]:
        for example in track(examples, "words of train", unit="examples"):
            for caption in example.captions:
                texts["unspaced"] += is_unspaced(caption)
                if is_wordless(caption):
                    texts["wordless"] += 1
                else:
                    count("caption", caption)
            if example.question is not None:
                texts["unspaced"] += is_unspaced(example.question)
                count("question", example.question)
            texts["all"] += len(example.captions) + (example.question is not None)
            if example.answers:
                canon = list(map(canonical_answer, example.answers))
                for answer, times in Counter(canon).items():
                    words.update(tokens := answer_to_tokens(answer, tokenizer))
                    lengths["answer"][str(len(tokens))] += times
                if right := majority(canon):  # normalisation may leave nothing, as of `a`
                    answers.setdefault(example.question_type or "", Counter())[right] += 1
            yield example.id

    check_each_once(ids(), lambda place: examples[place].id, where)
    return {"words": words, "answers": answers, "lengths": lengths, "texts": texts}


def summarise_texts(
    counts: Mapping[str, Mapping[str, Any]],
    vocabulary: Vocabulary,
    min_count: int,
    longest: Mapping[str, int],
    where: str,
) -> list[str]:
    """Lines about the texts of a training split: coverage of the vocabulary, truncated and unused texts, and whether
    the tokenizer is suitable.

    Args:
        counts: returned by `count_words`.
        vocabulary: made from it.
        min_count: of the vocabulary.
        longest: maximum number of words of a `caption`, a `question` and an `answer`.
        where: the split, for errors.

    Raises:
        UserError: the vocabulary has no word.
    """
    unit, texts = vocabulary.tokenizer.name, counts["texts"]
    running = sum(counts["words"].values())
    size = len(vocabulary) - len(SPECIAL)
    if not size:
        why = f"none occurs {min_count} times; lower data.min_count" if running else "it holds no text with a word"
        raise UserError(f"{where}: no {unit} to learn: {why}")
    share = 100 * sum(count for word, count in counts["words"].items() if word in vocabulary) / running
    line = f"vocabulary: {size:,} {unit}, {share:.1f} % of running {unit}"
    if min_count > 1 and (share < _LEAST_SHARE or size < _LEAST_SIZE):
        line += f"; those that occur less than {min_count} times are unknown: lower data.min_count"
    lines = [line]
    captions = sum(counts["lengths"]["caption"].values()) + texts["wordless"]
    for kind, what in _CUT.items():
        lengths = counts["lengths"][kind]
        if cut := sum(count for length, count in lengths.items() if int(length) > longest[kind]):
            total = captions if kind == "caption" else sum(lengths.values())
            lines.append(f"{cut:,} of {total:,} {kind}s are longer than {longest[kind]} {unit}{what}")
    if texts["wordless"]:
        lines.append(f"{texts['wordless']:,} of {captions:,} captions have no word, and are not trained on")
    if vocabulary.tokenizer is WORDS:
        hint = "set data.tokenizer to characters"
        if warning := warn_of_unspaced(texts["unspaced"], texts["all"], "captions or questions", hint):
            lines.append(f"warning: {warning}")
    return lines

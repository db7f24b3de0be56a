"""Words and their ids; the answer classes of a classifier, answer priors, and soft scores of annotators' answers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.files import read_json, write_json
from vlrnn.text.tokenizers import caption_tokenizer

PAD, BOS, EOS, UNK = range(4)
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")


class Vocabulary(Configurable):
    """Words in the order of their ids, after the four special tokens `<pad>` 0, `<bos>` 1, `<eos>` 2, `<unk>` 3.

    Args:
        words: the ordinary words; the first has id 4.
        tokenizer: `words` or `characters`, of captions, questions and answers; language models have an `LMTokenizer`.

    Raises:
        UserError: a word occurs twice, or there is no such tokenizer.
    """

    def __init__(self, words: Sequence[str], tokenizer: str = "words") -> None:
        self.tokenizer = caption_tokenizer(tokenizer)
        self.words = (*SPECIAL, *words)
        self._ids = {word: id for id, word in enumerate(self.words)}
        if len(self._ids) < len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise UserError(f"the vocabulary holds {twice!r} twice")

    @classmethod
    def count(cls, texts: Iterable[Sequence[str]], min_count: int = 1) -> "Vocabulary":
        """The words that occur at least `min_count` times in tokenized texts (the training split, and no other)."""
        return cls.of(Counter(word for text in texts for word in text), min_count)

    @classmethod
    def of(cls, counts: Mapping[str, int], min_count: int = 1, tokenizer: str = "words") -> "Vocabulary":
        """The words with a count of at least `min_count`, most frequent first; ties are in alphabetical order, so that
        ids are deterministic."""
        return cls([word for word in _by_frequency(counts, min_count) if word not in SPECIAL], tokenizer)

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Read a file of `save`.

        Raises:
            UserError: the file is no vocabulary.
        """
        value = read_json(path)
        words = value.get("words") if isinstance(value, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UserError(f'{path}: not a vocabulary: expected {{"words": [...]}}')
        return cls(words, str(value.get("tokenizer", "words")))

    def save(self, path: str | Path) -> None:
        """Write the words, and the name of the tokenizer, to a JSON file."""
        write_json(path, {"words": list(self.words[len(SPECIAL) :]), "tokenizer": self.tokenizer.name})

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def encode_text(self, text: str) -> list[int]:
        """Ids of the words of a text."""
        return self.encode(self.tokenizer.tokenize(text))

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids of tokens; an unknown word, or one that is spelled like a special token, is `<unk>`."""
        return [max(self._ids.get(token, UNK), UNK) for token in tokens]  # the special tokens come first

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Words of ids, up to the first `<eos>`; `<pad>` and `<bos>` are skipped."""
        words = []
        for id in ids:
            if id == EOS:
                break
            if id not in (PAD, BOS):
                words.append(self.words[id])
        return words


def _by_frequency(counts: Mapping[str, int], min_count: int) -> list[str]:
    return sorted((each for each in counts if counts[each] >= min_count), key=lambda each: (-counts[each], each))


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
        return cls(_by_frequency(counts, min_count)[:most])

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

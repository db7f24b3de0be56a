"""Vocabulary: words, their ids, and the tokenizer."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
        retained = [word for word, count in counts.items() if count >= min_count and word not in SPECIAL]
        return cls(sorted(retained, key=lambda word: (-counts[word], word)), tokenizer)

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

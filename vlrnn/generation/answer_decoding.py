"""How a decoder's answer is found: freely, within a closed set, or by asking for the probability of every answer."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from vlrnn.config import Part
from vlrnn.errors import UserError
from vlrnn.generation.generate import GeneratedSequence, Items, generate, score_sequences
from vlrnn.generation.logits_processors import Constraint, one_of
from vlrnn.generation.search import Decoding
from vlrnn.nn.batching import select
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.encoders.base import Context
from vlrnn.text.answer_vocabulary import AnswerSet
from vlrnn.text.vocabulary import EOS, PAD, UNK, Vocabulary
from vlrnn.text.vqa_normalization import read, spell

_SHORT = Decoding(num_beams=3, max_new_tokens=20, length_penalty=0.0, num_return_sequences=3)


class Answering(Part):
    """The interface."""

    def __call__(
        self, decoder: Decoder, vocabulary: Vocabulary, answers: AnswerSet, context: Context, questions: Items
    ) -> list[list[GeneratedSequence]]:
        """The answers to M questions about the B images of a context, the best first."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """The settings as plain data, for results."""
        raise NotImplementedError


class FreeAnswers(Answering):
    """Whatever the search finds.

    Args:
        decoding: how it searches; null: with three beams, for answers of up to 19 words, by their sums of log p.
    """

    name = "free"

    def __init__(self, decoding: Decoding | None = None) -> None:
        self.decoding = decoding or _SHORT

    def search(self, vocabulary: Vocabulary, answers: AnswerSet) -> tuple[Decoding, Sequence[Constraint]]:
        """How it searches, and what it is held to."""
        return self.decoding, ()

    def __call__(
        self, decoder: Decoder, vocabulary: Vocabulary, answers: AnswerSet, context: Context, questions: Items
    ) -> list[list[GeneratedSequence]]:
        decoding, held_to = self.search(vocabulary, answers)
        found = generate(decoder, vocabulary, context, decoding, items=questions, constraints=held_to)
        return [
            _each_once(each._replace(text=read(each.tokens, vocabulary.tokenizer)) for each in answers)
            for answers in found
        ]

    def describe(self) -> dict[str, Any]:
        return {"answering": self.name, **self.decoding.describe()}


class ConstrainedAnswers(FreeAnswers):
    """What the search finds among the closed set of answers; those with an unknown word cannot be said.

    Args:
        decoding: as for free answers, but that the longest answer of the set can be said.

    Raises:
        UserError: decoding forbids sentences that may stand in the set.
    """

    name = "constrained"

    def __init__(self, decoding: Decoding | None = None) -> None:
        super().__init__(decoding)
        if self.decoding.min_new_tokens or self.decoding.no_repeat_ngram_size:
            raise UserError(
                "constrained answers are whole answers of the set: leave out min_new_tokens and no_repeat_ngram_size"
            )

    def search(self, vocabulary: Vocabulary, answers: AnswerSet) -> tuple[Decoding, Sequence[Constraint]]:
        spelled = [*_sayable(vocabulary, answers).values()]
        return replace(self.decoding, max_new_tokens=max(map(len, spelled))), [one_of(spelled)]


class RankedAnswers(Answering):
    """The closed set in the order of the log probabilities that the decoder gives its answers, ends counted.

    Args:
        told: how many answers, the likeliest, are given.
        rows: how many pairs of question and answer are read at a time.
    """

    def __init__(self, told: int = 3, rows: int = 4096) -> None:
        if told < 1 or rows < 1:
            raise UserError(f"answering: told and rows must be at least 1, not {told} and {rows}")
        self.told = told
        self.rows = rows

    @torch.no_grad()
    def __call__(
        self, decoder: Decoder, vocabulary: Vocabulary, answers: AnswerSet, context: Context, questions: Items
    ) -> list[list[GeneratedSequence]]:
        spelled = _sayable(vocabulary, answers)
        texts = list(spelled)
        device = context.regions.device
        tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in spelled.values()], True, PAD).to(device)
        memory = decoder.prepare(context)
        found = []
        image_index, condition = (each.to(device).split(max(1, self.rows // len(tokens))) for each in questions)
        for some, conditions in zip(image_index, condition, strict=True):
            images, index = some.unique(return_inverse=True)
            pairs = (each.repeat_interleave(len(tokens), 0) for each in (index, conditions))
            rows = tokens.repeat(len(some), 1)
            log_probs = score_sequences(decoder, select(memory, images), rows, *pairs)
            log_probs = log_probs.masked_fill(rows == PAD, 0.0).view(len(some), *tokens.shape)  # [b, A, T]
            best = log_probs.sum(-1).topk(min(self.told, len(texts)))
            for row, (scores, ids) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
                said = [log_probs[row, id, : len(spelled[texts[id]])].tolist() for id in ids]
                found.append(
                    [
                        GeneratedSequence(texts[id], tuple(vocabulary.decode(spelled[texts[id]])), tuple(each), score)
                        for id, each, score in zip(ids, said, scores, strict=True)
                    ]
                )
        return found

    def describe(self) -> dict[str, Any]:
        return {"answering": "ranked"}


def encode_answer(vocabulary: Vocabulary, answer: str) -> list[int]:
    """An answer as ids, with its `<eos>`."""
    return [*vocabulary.encode(spell(answer, vocabulary.tokenizer)), EOS]


def _sayable(vocabulary: Vocabulary, answers: AnswerSet) -> dict[str, Sequence[int]]:
    """Text -> ids of the answers whose words are all known, as the decoder would say them.

    Raises:
        UserError: there is none.
    """
    spelled: Iterable[Sequence[int]] = (encode_answer(vocabulary, answer) for answer in answers.answers)
    tokenizer = vocabulary.tokenizer
    sayable = {read(vocabulary.decode(ids), tokenizer): ids for ids in spelled if UNK not in ids and len(ids) > 1}
    if not sayable:
        raise UserError(f"none of the {len(answers)} answers can be said in known words; lower data.min_count")
    return sayable


def _each_once(answers: Iterable[GeneratedSequence]) -> list[GeneratedSequence]:
    """The answers, the first of those that read the same."""
    kept: dict[str, GeneratedSequence] = {}
    for each in answers:
        kept.setdefault(each.text, each)
    return list(kept.values())

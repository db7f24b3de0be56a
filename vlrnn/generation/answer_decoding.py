"""How a decoder's answer is found: freely, within a closed set, or by asking for the probability of every answer."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.generation.generate import GeneratedSequence, Items, generate, score_sequences
from vlrnn.generation.logits_processors import LogitsProcessor, allowed_sequences
from vlrnn.generation.search import GenerationConfig
from vlrnn.nn.batching import index_rows
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.encoders.base import Context
from vlrnn.text.answer_vocabulary import AnswerVocabulary
from vlrnn.text.vocabulary import EOS, PAD, UNK, Vocabulary
from vlrnn.text.vqa_normalization import answer_to_tokens, tokens_to_answer

_SHORT = GenerationConfig(num_beams=3, max_new_tokens=20, length_penalty=0.0, num_return_sequences=3)


class AnswerDecoding(Configurable):
    """The interface."""

    def __call__(
        self, decoder: Decoder, vocabulary: Vocabulary, answers: AnswerVocabulary, context: Context, questions: Items
    ) -> list[list[GeneratedSequence]]:
        """The answers to M questions about the B images of a context, the best first."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """The settings as plain data, for results."""
        raise NotImplementedError


class OpenAnswers(AnswerDecoding):
    """Whatever the search finds.

    Args:
        generation: how it searches; null: with three beams, for answers of up to 19 words, by their sums of log p.
    """

    name = "free"

    def __init__(self, generation: GenerationConfig | None = None) -> None:
        self.generation = generation or _SHORT

    def search(
        self, vocabulary: Vocabulary, answers: AnswerVocabulary
    ) -> tuple[GenerationConfig, Sequence[LogitsProcessor]]:
        """How it searches, and what it is held to."""
        return self.generation, ()

    def __call__(
        self, decoder: Decoder, vocabulary: Vocabulary, answers: AnswerVocabulary, context: Context, questions: Items
    ) -> list[list[GeneratedSequence]]:
        decoding, held_to = self.search(vocabulary, answers)
        found = generate(decoder, vocabulary, context, decoding, items=questions, constraints=held_to)
        return [
            _each_once(each._replace(text=tokens_to_answer(each.tokens, vocabulary.tokenizer)) for each in answers)
            for answers in found
        ]

    def describe(self) -> dict[str, Any]:
        return {"answering": self.name, **self.generation.describe()}


class ConstrainedAnswers(OpenAnswers):
    """What the search finds among the closed set of answers; those with an unknown word cannot be said.

    Args:
        generation: as for free answers, but that the longest answer of the set can be said.

    Raises:
        UserError: decoding forbids sentences that may stand in the set.
    """

    name = "constrained"

    def __init__(self, generation: GenerationConfig | None = None) -> None:
        super().__init__(generation)
        if self.generation.min_new_tokens or self.generation.no_repeat_ngram_size:
            raise UserError(
                "constrained answers are whole answers of the set: leave out min_new_tokens and no_repeat_ngram_size"
            )

    def search(
        self, vocabulary: Vocabulary, answers: AnswerVocabulary
    ) -> tuple[GenerationConfig, Sequence[LogitsProcessor]]:
        spelled = [*_allowed(vocabulary, answers).values()]
        return replace(self.generation, max_new_tokens=max(map(len, spelled))), [allowed_sequences(spelled)]


class RankedAnswers(AnswerDecoding):
    """The closed set in the order of the log probabilities that the decoder gives its answers, ends counted.

    Args:
        top_n: how many answers, the likeliest, are given.
        chunk_rows: how many pairs of question and answer are read at a time.
    """

    def __init__(self, top_n: int = 3, chunk_rows: int = 4096) -> None:
        if top_n < 1 or chunk_rows < 1:
            raise UserError(f"answer_decoding: top_n and chunk_rows must be at least 1, not {top_n} and {chunk_rows}")
        self.top_n = top_n
        self.chunk_rows = chunk_rows

    @torch.no_grad()
    def __call__(
        self, decoder: Decoder, vocabulary: Vocabulary, answers: AnswerVocabulary, context: Context, questions: Items
    ) -> list[list[GeneratedSequence]]:
        spelled = _allowed(vocabulary, answers)
        texts = list(spelled)
        device = context.regions.device
        tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in spelled.values()], True, PAD).to(device)
        memory = decoder.prepare(context)
        found = []
        image_index, condition = (each.to(device).split(max(1, self.chunk_rows // len(tokens))) for each in questions)
        for some, conditions in zip(image_index, condition, strict=True):
            images, index = some.unique(return_inverse=True)
            pairs = (each.repeat_interleave(len(tokens), 0) for each in (index, conditions))
            rows = tokens.repeat(len(some), 1)
            log_probs = score_sequences(decoder, index_rows(memory, images), rows, *pairs)
            log_probs = log_probs.masked_fill(rows == PAD, 0.0).view(len(some), *tokens.shape)  # [b, A, T]
            best = log_probs.sum(-1).topk(min(self.top_n, len(texts)))
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
    return [*vocabulary.encode(answer_to_tokens(answer, vocabulary.tokenizer)), EOS]


def _allowed(vocabulary: Vocabulary, answers: AnswerVocabulary) -> dict[str, Sequence[int]]:
    """Text -> ids of the answers whose words are all known, as the decoder would say them.

    Raises:
        UserError: there is none.
    """
    spelled: Iterable[Sequence[int]] = (encode_answer(vocabulary, answer) for answer in answers.answers)
    tokenizer = vocabulary.tokenizer
    sayable = {
        tokens_to_answer(vocabulary.decode(ids), tokenizer): ids for ids in spelled if UNK not in ids and len(ids) > 1
    }
    if not sayable:
        raise UserError(f"none of the {len(answers)} answers can be said in known words; lower data.min_count")
    return sayable


def _each_once(answers: Iterable[GeneratedSequence]) -> list[GeneratedSequence]:
    """The answers, the first of those that read the same."""
    kept: dict[str, GeneratedSequence] = {}
    for each in answers:
        kept.setdefault(each.text, each)
    return list(kept.values())

"""Decoding of answers: open search, search constrained to a closed set, or ranking of a closed set by probability."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from vlrnn.config import Configurable
from vlrnn.errors import UserError, check_least
from vlrnn.generation.generate import GeneratedSequence, Items, generate, score_sequences
from vlrnn.generation.logits_processors import LogitsProcessor, allowed_sequences
from vlrnn.generation.search import GenerationConfig
from vlrnn.nn.batching import index_rows
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.encoders.base import Context
from vlrnn.text.vocabulary import EOS, PAD, UNK, AnswerVocabulary, Vocabulary
from vlrnn.text.vqa_normalization import answer_to_tokens, tokens_to_answer

_SHORT = GenerationConfig(num_beams=3, max_new_tokens=20, length_penalty=0.0, num_return_sequences=3)


class AnswerDecoding(Configurable):
    """The interface."""

    def __call__(
        self, decoder: Decoder, vocabulary: Vocabulary, answers: AnswerVocabulary, context: Context, questions: Items
    ) -> list[list[GeneratedSequence]]:
        """The answers to M questions about the B images of a context: a list for each question, best first."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """The settings as plain data, for results."""
        raise NotImplementedError


class OpenAnswers(AnswerDecoding):
    """Search over all words of the vocabulary.

    Args:
        generation: settings of the search; null: three beams, answers of up to 19 words, no length penalty.
    """

    name = "free"

    def __init__(self, generation: GenerationConfig | None = None) -> None:
        self.generation = generation or _SHORT

    def search(
        self, vocabulary: Vocabulary, answers: AnswerVocabulary
    ) -> tuple[GenerationConfig, Sequence[LogitsProcessor]]:
        """The settings of the search, and its constraints."""
        return self.generation, ()

    def __call__(
        self, decoder: Decoder, vocabulary: Vocabulary, answers: AnswerVocabulary, context: Context, questions: Items
    ) -> list[list[GeneratedSequence]]:
        generation, constraints = self.search(vocabulary, answers)
        found = generate(decoder, vocabulary, context, generation, items=questions, constraints=constraints)
        return [
            _unique(each._replace(text=tokens_to_answer(each.tokens, vocabulary.tokenizer)) for each in answers)
            for answers in found
        ]

    def describe(self) -> dict[str, Any]:
        return {"answering": self.name, **self.generation.describe()}


class ConstrainedAnswers(OpenAnswers):
    """Search constrained to the closed set of answers, without those that have an unknown word.

    Args:
        generation: as of `OpenAnswers`; `max_new_tokens` is replaced by the length of the longest answer.

    Raises:
        UserError: the settings exclude sequences that may be in the set.
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
        sequences = [*_encoded(vocabulary, answers).values()]
        return replace(self.generation, max_new_tokens=max(map(len, sequences))), [allowed_sequences(sequences)]


class RankedAnswers(AnswerDecoding):
    """The answers of the closed set, ranked by their log probability under the decoder, `<eos>` included.

    Args:
        top_n: number of answers to return, the most probable first.
        chunk_rows: number of pairs of question and answer in one forward pass.
    """

    def __init__(self, top_n: int = 3, chunk_rows: int = 4096) -> None:
        check_least("answer_decoding: top_n", top_n)
        check_least("answer_decoding: chunk_rows", chunk_rows)
        self.top_n = top_n
        self.chunk_rows = chunk_rows

    @torch.no_grad()
    def __call__(
        self, decoder: Decoder, vocabulary: Vocabulary, answers: AnswerVocabulary, context: Context, questions: Items
    ) -> list[list[GeneratedSequence]]:
        encoded = _encoded(vocabulary, answers)
        texts = list(encoded)
        device = context.regions.device
        tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in encoded.values()], True, PAD).to(device)
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
                of_tokens = [log_probs[row, id, : len(encoded[texts[id]])].tolist() for id in ids]
                found.append(
                    [
                        GeneratedSequence(texts[id], tuple(vocabulary.decode(encoded[texts[id]])), tuple(each), score)
                        for id, each, score in zip(ids, of_tokens, scores, strict=True)
                    ]
                )
        return found

    def describe(self) -> dict[str, Any]:
        return {"answering": "ranked"}


def encode_answer(vocabulary: Vocabulary, answer: str) -> list[int]:
    """The token ids of an answer, `<eos>` last."""
    return [*vocabulary.encode(answer_to_tokens(answer, vocabulary.tokenizer)), EOS]


def _encoded(vocabulary: Vocabulary, answers: AnswerVocabulary) -> dict[str, Sequence[int]]:
    """Text -> token ids of the answers without an unknown word; the text is the one that the decoder generates.

    Raises:
        UserError: every answer has an unknown word.
    """
    sequences = (encode_answer(vocabulary, answer) for answer in answers.answers)
    tokenizer = vocabulary.tokenizer
    encoded: dict[str, Sequence[int]] = {
        tokens_to_answer(vocabulary.decode(ids), tokenizer): ids for ids in sequences if UNK not in ids and len(ids) > 1
    }
    if not encoded:
        raise UserError(f"each of the {len(answers)} answers has a word out of vocabulary; lower data.min_count")
    return encoded


def _unique(answers: Iterable[GeneratedSequence]) -> list[GeneratedSequence]:
    """The answers in their order, of several with one text the first alone."""
    by_text: dict[str, GeneratedSequence] = {}
    for each in answers:
        by_text.setdefault(each.text, each)
    return list(by_text.values())

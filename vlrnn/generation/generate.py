"""From a decoder and what it knows to sentences: what captions and spoken answers share."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vlrnn.data.records import AttentionMaps, Id, Prediction
from vlrnn.errors import UserError
from vlrnn.generation.logits_processors import Constraint
from vlrnn.generation.search import Decoding, search
from vlrnn.nn.batching import Tree
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.encoders.base import Context, on_grid
from vlrnn.text.vocabulary import BOS, EOS, PAD, UNK, Vocabulary


class Utterance(NamedTuple):
    """One sentence: its `text`, the `tokens` it is made of, the `log_probs` (natural) of each and, last, of its `<eos>`
    where it was said, and the `score` that the search gave it."""

    text: str
    tokens: tuple[str, ...]
    log_probs: tuple[float, ...]
    score: float


class Distributions(NamedTuple):
    """What could have been said instead: `log_probs` [M, T, V], natural, of everything that can be said at each of the
    places of M sentences, and which places a sentence has, `there` [M, T], that of its `<eos>` counted where it was
    said. An answer that is chosen has one place, and V is the answers."""

    log_probs: Tensor
    there: Tensor


@torch.no_grad()
def speak(
    decoder: Decoder,
    vocabulary: Vocabulary,
    context: Context,
    decoding: Decoding,
    *,
    constraints: Sequence[Constraint] = (),
    generator: torch.Generator | None = None,
) -> list[list[Utterance]]:
    """Sentences about B contexts, the best first: B lists of up to `decoding.num_return_sequences`."""
    memory = decoder.prepare(context)
    found = search(
        decoder.step,
        decoder.initial_state(memory),
        memory,
        decoding,
        bos=BOS,
        eos=EOS,
        forbidden=(PAD, BOS, UNK),
        constraints=constraints,
        generator=generator,
    )
    there = found.lengths > 0  # [B, R] the hypotheses that exist
    if not there[:, 0].all():
        raise UserError("the model's scores are no numbers: its training has diverged; lower optimization.lr")
    rows, tokens = there.nonzero()[:, 0], found.tokens[there]
    log_probs = token_log_probs(decoder, memory, tokens, rows)
    sentences: list[list[Utterance]] = [[] for _ in found.scores]
    columns = (rows, tokens, found.lengths[there], log_probs, found.scores[there.cpu()])
    for row, ids, length, each, score in zip(*(column.tolist() for column in columns), strict=True):
        words = tuple(vocabulary.decode(ids[:length]))
        sentences[row].append(Utterance(vocabulary.tokenizer.detokenize(words), words, tuple(each[:length]), score))
    return sentences


def token_log_probs(decoder: Decoder, memory: Tree, tokens: Tensor, context_of: Tensor) -> Tensor:
    """The log probability [M, T] of every token of sentences [M, T] without `<bos>`, row m about `context_of[m]`."""
    return next_log_probs(decoder, memory, tokens, context_of).gather(2, tokens[..., None])[..., 0]


def next_log_probs(decoder: Decoder, memory: Tree, tokens: Tensor, context_of: Tensor) -> Tensor:
    """As `token_log_probs`, of every word that could stand in place of each: [M, T, V]."""
    return decoder(heard(tokens), memory, context_of).float().log_softmax(-1)


def heard(tokens: Tensor) -> Tensor:
    """What a decoder hears as it says sentences [M, T]: `<bos>`, and each token but the last."""
    return torch.cat([torch.full_like(tokens[:, :1], BOS), tokens[:, :-1]], 1)


def spelled(vocabulary: Vocabulary, said: Sequence[Prediction]) -> Tensor:
    """The tokens [M, T] of M sentences that were spoken, with `<eos>` where it was said, filled up with `<pad>`."""
    ended = ([EOS] * (len(each.log_probs) - len(each.tokens)) for each in said)
    rows = [[*vocabulary.encode(each.tokens), *end] for each, end in zip(said, ended, strict=True)]
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, PAD)


def distributions(
    decoder: Decoder, vocabulary: Vocabulary, context: Context, said: Sequence[Prediction]
) -> Distributions:
    """What a decoder could have said about B contexts at each word of B sentences that were spoken, one about each."""
    tokens = spelled(vocabulary, said).to(context.regions.device)
    rows = torch.arange(len(tokens), device=tokens.device)
    return Distributions(next_log_probs(decoder, decoder.prepare(context), tokens, rows), tokens != PAD)


@torch.no_grad()
def attention_maps(
    decoder: Decoder, vocabulary: Vocabulary, context: Context, said: Sequence[Prediction]
) -> list[AttentionMaps]:
    """Where a decoder looked as it spoke B sentences, one about each of B contexts; nothing of one that does not
    attend, or whose regions have no boxes. It reads them once more: the search does not keep that."""
    tokens = spelled(vocabulary, said).to(context.regions.device)
    rows = torch.arange(len(tokens), device=tokens.device)
    heard_again = decoder.read(heard(tokens), decoder.prepare(context), rows)
    attention = None if heard_again.attention is None else on_grid(heard_again.attention, context)
    if attention is None:
        return []
    peaks = attention.amax(-1)  # [B, T]
    shares = (255 * attention / peaks[..., None].clamp(min=1e-12)).round().to(torch.uint8).cpu().numpy()
    found = []
    for row, prediction in enumerate(said):
        length = len(prediction.log_probs)
        gates = () if heard_again.gate is None else tuple(heard_again.gate[row, :length].tolist())
        maps = b64encode(shares[row, :length].tobytes()).decode()
        found.append(AttentionMaps(prediction.id, tuple(peaks[row, :length].tolist()), maps, gates))
    return found


def as_prediction(id: Id, image_id: Id, sentences: Sequence[Utterance], settings: Mapping[str, Any]) -> Prediction:
    """The record of sentences about one image, the best of which comes first."""
    best, *others = sentences
    alternatives = tuple({"text": each.text, "score": each.score} for each in others)
    return Prediction(id, image_id, best.text, best.tokens, best.log_probs, best.score, alternatives, settings)

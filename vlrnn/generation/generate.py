"""Generation of text with a decoder, for captions and answers: search, teacher-forced scores, attention maps.

There is one text for each image, or one for each item (question) where an image may have several.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlrnn.data.records import AttentionMaps, Id, Prediction
from vlrnn.errors import UserError
from vlrnn.generation.logits_processors import LogitsProcessor, suppress_tokens
from vlrnn.generation.search import GenerationConfig, Hypotheses, Step, search
from vlrnn.nn.batching import RowPacker, Tree, index_rows, leaves, map_tree
from vlrnn.nn.decoders.base import Decoder, DecoderOutput
from vlrnn.nn.encoders.base import Context, on_grid
from vlrnn.text.vocabulary import BOS, EOS, PAD, UNK, Vocabulary


class GeneratedSequence(NamedTuple):
    """One sentence: its `text`, its `tokens`, the natural `log_probs` of each token and, last, of `<eos>` where it was
    generated, and the `score` of the search."""

    text: str
    tokens: tuple[str, ...]
    log_probs: tuple[float, ...]
    score: float


class Items(NamedTuple):
    """M items: `image_index` [M], the image of each among B, and `condition` [M, C], its fused question."""

    image_index: Tensor
    condition: Tensor


class TokenDistributions(NamedTuple):
    """Distributions over the vocabulary: natural `log_probs` [M, T, V] at each time step of M sentences, and `mask`
    [M, T], true for the steps of a sentence, that of a generated `<eos>` included. A classified answer has one step,
    and V is the number of answers."""

    log_probs: Tensor
    mask: Tensor


@torch.no_grad()
def generate(
    decoder: Decoder,
    vocabulary: Vocabulary,
    context: Context,
    decoding: GenerationConfig,
    *,
    items: Items | None = None,
    constraints: Sequence[LogitsProcessor] = (),
    generator: torch.Generator | None = None,
) -> list[list[GeneratedSequence]]:
    """Generate sentences for B images, or for M items about them: for each a list of up to
    `decoding.num_return_sequences`, best first.

    Raises:
        UserError: the logits are NaN.
    """
    memory = decoder.prepare(context)
    step = search_step(decoder)
    if items is None:
        state = decoder.init_state(memory)
    else:
        image_index = items.image_index.to(context.regions.device)
        packed = _ItemSearch(decoder, memory, image_index)
        step, state, memory = packed.step, packed.init_state(items.condition), image_index
    never = [*constraints, suppress_tokens((PAD, BOS, UNK))]
    found = search(step, state, memory, decoding, bos=BOS, eos=EOS, constraints=never, generator=generator)
    return to_sequences(found, vocabulary, vocabulary.tokenizer.detokenize)


def generate_with_log_probs(
    decoder: Decoder, vocabulary: Vocabulary, context: Context, decoding: GenerationConfig
) -> tuple[list[list[GeneratedSequence]], Tensor]:
    """As `generate`, with the log probability [B, R] of each sentence, which keeps its graph where gradients are
    enabled. It is that of the distribution that is sampled: tokens that are never generated have no share of it."""
    memory, step = decoder.prepare(context), search_step(decoder)
    forbidden = torch.tensor((PAD, BOS, UNK), device=context.regions.device)

    def allowed(tokens: Tensor, state: Tree, memory: Tree) -> tuple[Tensor, Tree]:
        logits, state = step(tokens, state, memory)
        return logits.index_fill(-1, forbidden, -torch.inf), state

    graph, state = torch.is_grad_enabled(), decoder.init_state(memory)
    found = search(allowed, state, memory, decoding, bos=BOS, eos=EOS, keep_graph=graph)
    return to_sequences(found, vocabulary, vocabulary.tokenizer.detokenize), found.token_log_probs.sum(-1)


def search_step(decoder: Decoder) -> Step:
    """The step function of a search: tokens [B, K], state, memory -> logits [B, K, V] of the next token, next state."""

    def step(tokens: Tensor, state: Tree, memory: Tree) -> tuple[Tensor, Tree]:
        output, state = decoder.step(tokens, state, memory)
        return decoder.logits(output.hidden), state

    return step


class _ItemSearch:
    """A search over items that share images: m items with K hypotheses each are packed as [b, Q * K] for the decoder,
    Q being the most items of an image. The search's memory is the image index of each item; the decoder's memory is
    indexed when all items of an image have finished.

    Args:
        decoder: any.
        memory: of B images.
        image_index: [M], 0..B-1.
    """

    def __init__(self, decoder: Decoder, memory: Tree, image_index: Tensor) -> None:
        self._decoder = decoder
        self._memory, self._images = memory, torch.arange(len(leaves(memory)[0]), device=image_index.device)
        self._pack(image_index)

    def _pack(self, image_index: Tensor) -> None:
        images, index = image_index.unique(return_inverse=True)
        if len(images) < len(self._images):
            self._memory = index_rows(self._memory, torch.searchsorted(self._images, images))
        self._images, self._layout, self._count = images, RowPacker(index, len(images)), len(image_index)

    def init_state(self, condition: Tensor) -> Tree:
        """The initial state of M items from their conditions [M, C]."""
        return self._unpack(self._decoder.init_state(self._memory, self._layout.pack(condition)), 1)

    def step(self, tokens: Tensor, state: Tree, image_index: Tensor) -> tuple[Tensor, Tree]:
        """Tokens [m, K], state of m * K rows, image index [m] of the unfinished items -> logits [m, K, V], next
        state."""
        if len(image_index) < self._count:
            self._pack(image_index)
        beams, pack = tokens.shape[1], self._layout.pack
        packed = map_tree(lambda leaf: pack(leaf.unflatten(0, tokens.shape)).flatten(0, 2), state)
        output, packed = self._decoder.step(pack(tokens).flatten(1), packed, self._memory)
        hidden = self._layout.unpack(output.hidden.unflatten(1, (-1, beams)))
        return self._decoder.logits(hidden), self._unpack(packed, beams)

    def _unpack(self, state: Tree, beams: int) -> Tree:
        shape = (len(self._images), self._layout.rows, beams)
        return map_tree(lambda leaf: self._layout.unpack(leaf.unflatten(0, shape)).flatten(0, 1), state)


def to_sequences(
    found: Hypotheses, vocabulary: Vocabulary, to_text: Callable[[Sequence[str]], str]
) -> list[list[GeneratedSequence]]:
    """Convert the hypotheses of a search to sentences, a list for each item.

    Args:
        found: result of the search.
        vocabulary: maps token ids to words.
        to_text: joins words to a text.

    Raises:
        UserError: an item has no hypothesis, because its logits are NaN.
    """
    exists = found.lengths > 0  # [B, R]
    if not exists[:, 0].all():
        raise UserError("the model's scores are not finite: its training has diverged; lower optimization.lr")
    sentences: list[list[GeneratedSequence]] = [[] for _ in found.scores]
    tokens, log_probs = found.tokens[exists], found.token_log_probs[exists]
    columns = (exists.nonzero()[:, 0], tokens, found.lengths[exists], log_probs, found.scores[exists.cpu()])
    for row, ids, length, each, score in zip(*(column.tolist() for column in columns), strict=True):
        words = tuple(vocabulary.decode(ids[:length]))
        sentences[row].append(GeneratedSequence(to_text(words), words, tuple(each[:length]), score))
    return sentences


def score_sequences(
    decoder: Decoder, memory: Tree, tokens: Tensor, image_index: Tensor, condition: Tensor | None = None
) -> Tensor:
    """Log probabilities [M, T] of the tokens of sentences [M, T] without `<bos>`, by teacher forcing."""
    output = decoder(shift_right(tokens), memory, image_index, condition)
    log_probs = decoder.logits(output.hidden).float().log_softmax(-1)  # [M, T, V]
    return log_probs.gather(2, tokens[..., None])[..., 0]


def shift_right(tokens: Tensor) -> Tensor:
    """Decoder inputs for targets [M, T]: shifted right by one, `<bos>` first."""
    return torch.cat([torch.full_like(tokens[:, :1], BOS), tokens[:, :-1]], 1)


def predicted_tokens(vocabulary: Vocabulary, predictions: Sequence[Prediction]) -> Tensor:
    """The tokens [M, T] of M predictions, `<eos>` included where it was generated, padded with `<pad>`."""
    ends = ([EOS] * (len(each.log_probs) - len(each.tokens)) for each in predictions)
    rows = [[*vocabulary.encode(each.tokens), *end] for each, end in zip(predictions, ends, strict=True)]
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, PAD)


def distributions(
    decoder: Decoder,
    vocabulary: Vocabulary,
    context: Context,
    predictions: Sequence[Prediction],
    items: Items | None = None,
) -> TokenDistributions:
    """The distributions over the vocabulary at each token of predictions, one for each image or item."""
    tokens, output = _decoded_again(decoder, vocabulary, context, predictions, items)
    return TokenDistributions(decoder.logits(output.hidden).float().log_softmax(-1), tokens != PAD)


@torch.no_grad()
def attention_maps(
    decoder: Decoder,
    vocabulary: Vocabulary,
    context: Context,
    predictions: Sequence[Prediction],
    items: Items | None = None,
) -> list[AttentionMaps]:
    """Attention maps at each token of predictions, one for each image or item; an empty list for a decoder without
    attention, or regions without boxes. The predictions are decoded again by teacher forcing, since the search does
    not store attention weights."""
    _, output = _decoded_again(decoder, vocabulary, context, predictions, items)
    if items is not None:
        context = context._replace(boxes=index_rows(context.boxes, items.image_index))
    attention = None if output.attention is None else on_grid(output.attention, context)
    if attention is None:
        return []
    peaks = attention.amax(-1)  # [B, T]
    shares = (255 * attention / peaks[..., None].clamp(min=1e-12)).round().to(torch.uint8).cpu().numpy()
    found = []
    for row, prediction in enumerate(predictions):
        length = len(prediction.log_probs)
        gates = () if output.gate is None else tuple(output.gate[row, :length].tolist())
        maps = b64encode(shares[row, :length].tobytes()).decode()
        found.append(AttentionMaps(prediction.id, tuple(peaks[row, :length].tolist()), maps, gates))
    return found


def _decoded_again(
    decoder: Decoder, vocabulary: Vocabulary, context: Context, predictions: Sequence[Prediction], items: Items | None
) -> tuple[Tensor, DecoderOutput]:
    """The tokens [M, T] of predictions, and the decoder's output for them by teacher forcing."""
    tokens = predicted_tokens(vocabulary, predictions).to(context.regions.device)
    image_index, condition = items or (torch.arange(len(tokens)), None)
    rows = image_index.to(tokens.device)
    return tokens, decoder(shift_right(tokens), decoder.prepare(context), rows, condition)


def as_prediction(
    id: Id, image_id: Id, sentences: Sequence[GeneratedSequence], settings: Mapping[str, Any]
) -> Prediction:
    """The prediction record of the sentences generated for one example, best first."""
    best, *others = sentences
    alternatives = tuple({"text": each.text, "score": each.score} for each in others)
    return Prediction(id, image_id, best.text, best.tokens, best.log_probs, best.score, alternatives, settings)


class TokenScores(NamedTuple):
    """Scores of the T `tokens` of a caption, and of the end after them: the natural `log_probs` [T + 1]; the
    `attention` weights [T + 1, N], row by row of the grid; and the `gates` [T + 1] in 0..1. The last two are None where
    the decoder has none."""

    tokens: Sequence[str]
    log_probs: np.ndarray
    attention: np.ndarray | None
    gates: np.ndarray | None

    def _repr_html_(self) -> str:
        """For notebooks: each token with its probability and its attention map."""
        cells = []
        for place, token in enumerate([*self.tokens, "(end)"]):
            weights = None if self.attention is None else _picture(self.attention[place])
            cells.append(f"<td>{weights or ''}<br>{escape(token)}<br>{np.exp(self.log_probs[place]):.1%}</td>")
        return f"<table><tr style='text-align: center'>{''.join(cells)}</tr></table>"


def _picture(weights: np.ndarray) -> str:
    """Weights [N] of the cells of a square grid as a small picture; empty for any other N."""
    side = int(len(weights) ** 0.5)
    if side * side != len(weights):
        return ""
    shares = (255 * weights / max(float(weights.max()), 1e-12)).astype(np.uint8).reshape(side, side)
    file = BytesIO()
    Image.fromarray(shares).resize((56, 56), Image.Resampling.NEAREST).save(file, "PNG")
    return f"<img src='data:image/png;base64,{b64encode(file.getvalue()).decode()}'>"


@torch.no_grad()
def score_tokens(decoder: Decoder, vocabulary: Vocabulary, context: Context, tokens: Sequence[str]) -> TokenScores:
    """Score tokens, and the end after them, as a caption of the single image of a context."""
    prediction = Prediction("", "", "", tuple(tokens), (0.0,) * (len(tokens) + 1))  # as if `<eos>` were generated
    ids, output = _decoded_again(decoder, vocabulary, context, [prediction], None)
    attention = None if output.attention is None else on_grid(output.attention, context)
    log_probs = decoder.logits(output.hidden).float().log_softmax(-1).gather(2, ids[..., None])[0, :, 0]
    more: Any = (None if each is None else each[0].cpu().numpy() for each in (attention, output.gate))
    return TokenScores(tokens, log_probs.cpu().numpy(), *more)

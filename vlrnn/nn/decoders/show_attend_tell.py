"""Show, Attend and Tell: soft attention over regions at every step (Xu et al., ICML 2015)."""

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.attention import Attention, RegionMap, as_multiplied
from vlrnn.nn.batching import Tree
from vlrnn.nn.decoders.base import Decoder, FirstState, Said, _known
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.recurrent.base import Recurrence, that_speaks
from vlrnn.nn.word_scores import WordScores


class ShowAttendTell(Decoder):
    """Soft attention over the regions at every word, with the gate and the deep output (Xu et al. 2015).

    The first state is a map of the mean region (section 3.1.2); the query is the state before the word; what is seen
    passes the gate beta = sigmoid(f h) (section 4.2.1) and enters the recurrence beside the word; the scores are
    L_o(E y + L_h h + L_z z) (eq. 7). In two things it is not the paper's: the gate has a value for each number that is
    seen, where the paper has one for all, and the first query is a map of the mean region of its own.

    Args:
        recurrence: any.
        attention: any.
        embedding: E, also the width of the deep output.
        dropout: of words, regions and the deep output.
        region_width: when given, regions are first mapped to this width (see `RegionMap`), once for an image. null:
            they are used as the encoder gives them.
        frequencies: how finely the map tells the decoder where a region lies; it needs a `region_width`. With 0 it does
            not, and what the decoder knows of left and right is what the encoder lets slip.
        query_word: let the query hold the word that goes in beside the state before it. Of the state alone the decoder
            must foresee, a word ahead, where it will have to look.
    """

    class Memory(NamedTuple):
        known: Tensor  # [B, R], or [B, R + Q]
        regions: Tensor  # [B, N, R]
        keys: Tensor  # [B, N, A]
        mask: Tensor  # [B, N]

    def __init__(
        self,
        recurrence: Recurrence,
        attention: Attention,
        embedding: int = 512,
        dropout: float = 0.5,
        region_width: int | None = None,
        frequencies: int = 0,
        query_word: bool = False,
    ) -> None:
        super().__init__()
        if frequencies and not region_width:
            raise UserError("decoder: frequencies need a region_width, the width of the map that they enter")
        self.recurrence = that_speaks(recurrence)
        self.frequencies = frequencies
        self.query_word = query_word
        self.attention = attention
        self.embedding_width = embedding
        self.region_width = region_width
        self.dropout = nn.Dropout(dropout)

    def build(self, vocabulary_size: int, context_width: int, question_width: int = 0) -> Self:
        region_map = None
        if self.region_width:
            region_map = RegionMap(context_width, self.region_width, self.frequencies, self.dropout.p)
        width, hidden = region_map.width if region_map else context_width, self.recurrence.width
        self.region_map = region_map
        self.embedding = nn.Embedding(vocabulary_size, self.embedding_width, padding_idx=0)
        self.recurrence.build(self.embedding_width + width)
        self.attention.build(hidden + self.embedding_width * self.query_word, width)
        self.gate = nn.Linear(hidden, width)
        if self.recurrence.open_state:
            self.first_state = FirstState(width + question_width, self._start(1))
        else:
            self.first_input = nn.Linear(width + question_width, self.embedding_width + width)
        self.from_state = nn.Linear(hidden, self.embedding_width)
        self.from_seen = nn.Linear(width, self.embedding_width, bias=False)
        self.score = WordScores(self.embedding_width, vocabulary_size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        return self

    def prepare(self, context: Context) -> Tree:
        regions = self.dropout(context.regions) if self.region_map is None else self.region_map(context)
        there = context.mask.to(regions.dtype)[..., None]
        pooled = (regions * there).sum(1) / there.sum(1)
        keys = self.attention.prepare(regions)
        return self.Memory(_known(pooled, context), as_multiplied(regions), keys, context.mask)

    def initial_state(self, memory: Tree) -> Tree:
        start = self._start(memory.known.shape[0])
        if self.recurrence.open_state:
            return self.first_state(memory.known, start)
        return self.recurrence.step(torch.tanh(self.first_input(memory.known)), start[1])

    def _start(self, batch_size: int) -> Tree:
        """The output before the first word, which is the first query, and the recurrence's own first state."""
        return self.gate.weight.new_zeros(batch_size, self.recurrence.width), self.recurrence.initial_state(batch_size)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.embedding(tokens.to(self.embedding.weight.device, non_blocking=True)))

    def advance(self, words: Tensor, state: Tree, memory: Tree) -> tuple[Said, Tree]:
        before, inner = state
        before = before.unflatten(0, words.shape[:2])  # [B, K, H]
        query = torch.cat([before, words], -1) if self.query_word else before
        seen, weights = self.attention(query, memory.keys, memory.regions, memory.mask)
        gate = torch.sigmoid(self.gate(before))
        seen = gate * seen  # [B, K, R]
        output, inner = self.recurrence.step(torch.cat([words, seen], -1).flatten(0, 1), inner)
        known = torch.cat([words, output.unflatten(0, words.shape[:2]), seen], -1)  # [B, K, E + H + R]
        return Said(known, weights, gate.mean(-1)), (output, inner)

    def readout(self, output: Tensor) -> Tensor:
        widths = (self.embedding_width, self.recurrence.width, self.from_seen.in_features)
        words, state, seen = output.split(widths, -1)
        return self.score(self.dropout(words + self.from_state(state) + self.from_seen(seen)))

"""Captioner with soft attention over regions at every step (Xu et al., ICML 2015)."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.attention import Attention, RegionProjection, as_multiplied
from vlrnn.nn.batching import Tree
from vlrnn.nn.decoders.base import Decoder, DecoderOutput, StateInit, WordScores, unroll_steps, with_condition
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.recurrent.base import Recurrence, require_causal


class ShowAttendTell(Decoder):
    """Soft attention over the regions at every word, with the gate and the deep output (Xu et al. 2015).

    The first state is a map of the mean region (section 3.1.2); the query is the state before the word; the attended
    features are gated by beta = sigmoid(f h) (section 4.2.1), concatenated to the word, and enter the recurrence; the
    scores are L_o(E y + L_h h + L_z z) (eq. 7). Two differences from the paper: the gate has a value for each attended
    feature, where the paper has one for all, and the first query is a separate map of the mean region.

    Args:
        recurrence: any.
        attention: any.
        embedding_dim: E, also of the deep output.
        dropout: of words, regions and the deep output.
        region_dim: project the regions to this size first (see `RegionProjection`), once for an image. null: no
            projection.
        position_frequencies: number of Fourier frequencies of positions in the projection; needs a `region_dim`. 0: no
            explicit positions.
        attend_with_word: concatenate the embedding of the current input word to the query; by default the query is the
            state before that word.
    """

    class Memory(NamedTuple):
        pooled: Tensor  # [B, R]
        regions: Tensor  # [B, N, R]
        keys: Tensor  # [B, N, A]
        mask: Tensor  # [B, N]

    def __init__(
        self,
        recurrence: Recurrence,
        attention: Attention,
        embedding_dim: int = 512,
        dropout: float = 0.5,
        region_dim: int | None = None,
        position_frequencies: int = 0,
        attend_with_word: bool = False,
    ) -> None:
        super().__init__()
        if position_frequencies and not region_dim:
            raise UserError("decoder: position_frequencies need a region_dim")
        self.recurrence = require_causal(recurrence)
        self.position_frequencies = position_frequencies
        self.attend_with_word = attend_with_word
        self.attention = attention
        self.embedding_dim = embedding_dim
        self.region_dim = region_dim
        self.dropout = nn.Dropout(dropout)

    def build(self, vocab_size: int, feature_dim: int, condition_dim: int = 0) -> Self:
        region_map = None
        if self.region_dim:
            region_map = RegionProjection(feature_dim, self.region_dim, self.position_frequencies, self.dropout.p)
        width, hidden = region_map.output_dim if region_map else feature_dim, self.recurrence.hidden_size
        self.region_map = region_map
        self.embedding = nn.Embedding(vocab_size, self.embedding_dim, padding_idx=0)
        self.recurrence.build(self.embedding_dim + width)
        self.attention.build(hidden + self.embedding_dim * self.attend_with_word, width)
        self.gate = nn.Linear(hidden, width)
        if self.recurrence.accepts_initial_state:
            self.state_init = StateInit(width + condition_dim, self._start(1))
        else:
            self.first_input = nn.Linear(width + condition_dim, self.embedding_dim + width)
        self.from_state = nn.Linear(hidden, self.embedding_dim)
        self.from_attended = nn.Linear(width, self.embedding_dim, bias=False)
        self.score = WordScores(self.embedding_dim, vocab_size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        return self

    def prepare(self, context: Context) -> Tree:
        regions = self.dropout(context.regions) if self.region_map is None else self.region_map(context)
        mask = context.mask.to(regions.dtype)[..., None]
        pooled = (regions * mask).sum(1) / mask.sum(1)
        keys = self.attention.prepare(regions)
        return self.Memory(pooled, as_multiplied(regions), keys, context.mask)

    def init_state(self, memory: Tree, condition: Tensor | None = None) -> Tree:
        features = with_condition(memory.pooled, condition)
        start = self._start(features.shape[0])
        if self.recurrence.accepts_initial_state:
            return self.state_init(features, start)
        return self.recurrence.step(torch.tanh(self.first_input(features)), start[1])

    def _start(self, batch_size: int) -> Tree:
        """The output before the first word, which is the first query, and the initial state of the recurrence."""
        return self.gate.weight.new_zeros(batch_size, self.recurrence.hidden_size), self.recurrence.initial_state(
            batch_size
        )

    def step(self, tokens: Tensor, state: Tree, memory: Tree) -> tuple[DecoderOutput, Tree]:
        return self._step(self._embed(tokens), state, memory)

    def unroll(self, tokens: Tensor, active_counts: Sequence[int], state: Tree, memory: Tree) -> DecoderOutput:
        return unroll_steps(self._step, self._embed(tokens), active_counts, state, memory)

    def _embed(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.embedding(tokens))

    def _step(self, words: Tensor, state: Tree, memory: Tree) -> tuple[DecoderOutput, Tree]:
        """As `step`, of embedded words [B, K, E]."""
        before, inner = state
        before = before.unflatten(0, words.shape[:2])  # [B, K, H]
        query = torch.cat([before, words], -1) if self.attend_with_word else before
        attended, weights = self.attention(query, memory.keys, memory.regions, memory.mask)
        gate = torch.sigmoid(self.gate(before))
        attended = gate * attended  # [B, K, R]
        output, inner = self.recurrence.step(torch.cat([words, attended], -1).flatten(0, 1), inner)
        hidden = torch.cat([words, output.unflatten(0, words.shape[:2]), attended], -1)  # [B, K, E + H + R]
        return DecoderOutput(hidden, weights, gate.mean(-1)), (output, inner)

    def logits(self, hidden: Tensor) -> Tensor:
        widths = (self.embedding_dim, self.recurrence.hidden_size, self.from_attended.in_features)
        words, state, attended = hidden.split(widths, -1)
        return self.score(self.dropout(words + self.from_state(state) + self.from_attended(attended)))

"""Captioner whose image is the first input of a recurrence (Vinyals et al., CVPR 2015)."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from torch import Tensor, nn

from vlrnn.nn.batching import RowPacker, Tree, map_tree
from vlrnn.nn.decoders.base import Decoder, DecoderOutput, WordScores, with_condition
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.recurrent.base import Recurrence, require_causal


class ShowAndTell(Decoder):
    """The image is the first input of the recurrence and is given once (Vinyals et al. 2015, eq. 10 to 12), together
    with the condition, a fused question, if there is one. A condition is also added to the output at every word: from
    few examples, carrying it through the recurrence is learned slowly.

    Args:
        recurrence: any.
        embedding_dim: E.
        dropout: of embedded words and of the output.
    """

    class State(NamedTuple):
        recurrence: Tree  # leaves [B * K, ...]
        condition: Tensor | None  # [B * K, H]

    def __init__(self, recurrence: Recurrence, embedding_dim: int = 512, dropout: float = 0.5) -> None:
        super().__init__()
        self.recurrence = require_causal(recurrence)
        self.embedding_dim = embedding_dim
        self.dropout = nn.Dropout(dropout)

    def build(self, vocab_size: int, feature_dim: int, condition_dim: int = 0) -> Self:
        self.embedding = nn.Embedding(vocab_size, self.embedding_dim, padding_idx=0)
        self.image = nn.Linear(feature_dim + condition_dim, self.embedding_dim)
        self.recurrence.build(self.embedding_dim)
        self.condition = nn.Linear(condition_dim, self.recurrence.hidden_size) if condition_dim else None
        self.score = WordScores(self.recurrence.hidden_size, vocab_size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        return self

    def prepare(self, context: Context) -> Tree:
        return context.pooled if self.condition else self.image(context.pooled)

    def init_state(self, memory: Tree, condition: Tensor | None = None) -> Tree:
        image = memory if condition is None else self.image(with_condition(memory, condition))  # [B * K, E]
        _, state = self.recurrence.step(image, self.recurrence.initial_state(image.shape[0]))
        if condition is None or self.condition is None:
            return self.State(state, None)
        return self.State(state, self.condition(condition.flatten(0, 1)))

    def step(self, tokens: Tensor, state: Tree, memory: Tree) -> tuple[DecoderOutput, Tree]:
        hidden, after = self.recurrence.step(self._embed(tokens.flatten()), state.recurrence)
        if state.condition is not None:
            hidden = hidden + state.condition
        return DecoderOutput(hidden.unflatten(0, tokens.shape)), self.State(after, state.condition)

    def unroll(self, tokens: Tensor, active_counts: Sequence[int], state: Tree, memory: Tree) -> DecoderOutput:
        hidden, _ = self.recurrence(self._embed(tokens.flatten(0, 1)), state.recurrence)  # [B * K, T, H]
        if state.condition is not None:
            hidden = hidden + state.condition[:, None]
        return DecoderOutput(hidden.unflatten(0, tokens.shape[:2]))

    def forward(
        self, tokens: Tensor, memory: Tree, image_index: Tensor, condition: Tensor | None = None
    ) -> DecoderOutput:
        if condition is None:
            return super().forward(tokens, memory, image_index)
        # Steps do not use the memory: once rows have a state they need no packing, which would add padding.
        packer = RowPacker(image_index, len(memory))
        state = self.init_state(memory, packer.pack(condition))
        state = map_tree(lambda leaf: packer.unpack(leaf.unflatten(0, (-1, packer.rows))), state)
        output = self.unroll(tokens[:, None].to(memory.device, non_blocking=True), (), state, memory)
        return DecoderOutput(output.hidden.squeeze(1))

    def logits(self, hidden: Tensor) -> Tensor:
        return self.score(self.dropout(hidden))

    def _embed(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.embedding(tokens))

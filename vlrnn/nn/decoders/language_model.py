"""Recurrent language model over running text.

Shapes: B rows, K of them for each item of a search, T tokens, H width of the recurrence, V vocabulary.
"""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlrnn.errors import UserError, check_least
from vlrnn.nn.batching import Tree, leaves
from vlrnn.nn.decoders.base import Decoder, DecoderOutput, WordScores
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.recurrent.base import Recurrence, require_causal


class RecurrentLanguageModel(Decoder):
    """Embedding, recurrence, output layer (Mikolov et al. 2010), as a decoder with an empty memory instead of an image.
    The state depends on all of the text so far: a text can be split anywhere and continued from the state there.

    Args:
        recurrence: any.
        embedding_dim: of tokens.
        dropout: of tokens, and of the recurrence's outputs.
        checkpoint_every: gradient checkpointing: in training, store the state at every so many steps alone, and
            recompute the steps between in the backward pass (Chen et al. 2016; over time: Gruslys et al. 2016): less
            memory, more time. null: store all activations.
    """

    def __init__(
        self,
        recurrence: Recurrence,
        embedding_dim: int = 128,
        dropout: float = 0.0,
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__()
        check_least("decoder.checkpoint_every", checkpoint_every)
        self.recurrence = require_causal(recurrence)
        self.embedding_dim = embedding_dim
        self.dropout = nn.Dropout(dropout)
        self.checkpoint_every = checkpoint_every

    def build(self, vocab_size: int, feature_dim: int = 0, condition_dim: int = 0) -> Self:
        """Make the parameters, for V tokens; feature and condition dimensions are ignored."""
        self.embedding = nn.Embedding(vocab_size, self.embedding_dim)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.recurrence.build(self.embedding_dim)
        self.score = WordScores(self.recurrence.hidden_size, vocab_size)
        return self

    def prepare(self, context: Context) -> Tree:
        return self.empty_memory(len(context.regions))

    def empty_memory(self, batch_size: int) -> Tensor:
        """The memory of B texts, [B, 0]."""
        return self.embedding.weight.new_zeros(batch_size, 0)

    def init_state(self, memory: Tree, condition: Tensor | None = None) -> Tree:
        return self.recurrence.initial_state(len(memory) if condition is None else condition.shape[:2].numel())

    def step(self, tokens: Tensor, state: Tree, memory: Tree) -> tuple[DecoderOutput, Tree]:
        hidden, state = self.recurrence.step(self._embed(tokens.flatten()), state)
        return DecoderOutput(hidden.unflatten(0, tokens.shape)), state

    def unroll(self, tokens: Tensor, active_counts: Sequence[int], state: Tree, memory: Tree) -> DecoderOutput:
        hidden, _ = self.recurrence(self._embed(tokens.flatten(0, 1)), state)
        return DecoderOutput(hidden.unflatten(0, tokens.shape[:2]))

    def logits(self, hidden: Tensor) -> Tensor:
        return self.score(self.dropout(hidden))

    def _embed(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.embedding(tokens))

    # Running text: the state is carried from one window to the next.

    def log_probs(self, tokens: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """Log probabilities of the tokens of a text window.

        Args:
            tokens: [B, 1 + T]; the first column is the last token before the window.
            state: of B rows, before the first column.

        Returns:
            natural log probabilities [B, T] of all but the first column, and the state after the last but one.

        Raises:
            UserError: the state has another number of rows, or is of another recurrence.
        """
        expected, found = (
            [tuple(leaf.shape) for leaf in leaves(each)]
            for each in (self.init_state(self.empty_memory(len(tokens))), state)
        )
        if expected != found:
            name = f"{type(self.recurrence).__name__} of {len(tokens)} rows"
            raise UserError(
                f"the state does not fit: a {name} has one of the shapes {expected}, not {found}; give that of the "
                "same recurrence and batch size, or start with init_state"
            )
        chunk = self.checkpoint_every if torch.is_grad_enabled() and self.checkpoint_every else tokens.shape[1]
        log_probs = []
        for start in range(0, tokens.shape[1] - 1, chunk):
            piece = tokens[:, start : start + chunk + 1]
            if chunk < tokens.shape[1] - 1:
                each, state = checkpoint(self._log_probs, piece, state, use_reentrant=False)
            else:
                each, state = self._log_probs(piece, state)
            log_probs.append(each)
        return torch.cat(log_probs, 1), state

    def _log_probs(self, tokens: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        hidden, state = self.hidden_states(tokens[:, :-1], state)
        logits = self.logits(hidden).float()
        return -F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none"), state

    def hidden_states(self, tokens: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """Tokens [B, T], state of B rows -> hidden [B, T, H], and the state after the last."""
        return self.recurrence(self._embed(tokens), state)

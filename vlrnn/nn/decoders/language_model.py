"""The network of a language model: a recurrence hears a running text and scores, after each token, the next. Knows no
spelling, no image, and not where a text is cut.

Shapes: B rows, K of them for each item of a search, T tokens, D width of the recurrence, V vocabulary.
"""

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlrnn.config import Part
from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree, leaves
from vlrnn.nn.recurrent.base import Recurrence, that_speaks
from vlrnn.nn.word_scores import WordScores


class StreamDecoder(Part, nn.Module):
    """Token by token: embedding, recurrence, scores (Mikolov et al. 2010). What was heard is in the state alone, so a
    text can be cut anywhere, and gone on with from the state there.

    Args:
        recurrence: any.
        embedding: the width of tokens.
        dropout: of tokens, and of what the recurrence says.
        recompute: in training, keep of every so many steps the state alone, and compute what lies between once more
            when the gradient comes by (Chen et al. 2016; over time: Gruslys et al. 2016): memory for time. null: keep
            all that the gradient needs.
    """

    def __init__(
        self, recurrence: Recurrence, embedding: int = 128, dropout: float = 0.0, recompute: int | None = None
    ) -> None:
        super().__init__()
        if recompute is not None and recompute < 1:
            raise UserError(f"decoder.recompute must be at least 1, not {recompute}")
        self.recurrence = that_speaks(recurrence)
        self.embedding_width = embedding
        self.dropout = nn.Dropout(dropout)
        self.recompute = recompute

    def build(self, vocabulary_size: int) -> Self:
        """Make the parameters, for V tokens; returns itself."""
        self.embedding = nn.Embedding(vocabulary_size, self.embedding_width)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.recurrence.build(self.embedding_width)
        self.score = WordScores(self.recurrence.width, vocabulary_size)
        return self

    def initial_state(self, batch_size: int) -> Tree:
        """The state before anything was heard, of B rows."""
        return self.recurrence.initial_state(batch_size)

    def scores(self, tokens: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """Hear tokens [B, T] -> the scores of what comes after each [B, T, V], and the state after the last."""
        outputs, state = self.recurrence.scan(self.dropout(self.embedding(tokens)), state)
        return self.score(self.dropout(outputs)), state

    def step(self, tokens: Tensor, state: Tree, memory: Tree) -> tuple[Tensor, Tree]:
        """Hear one token per row, [B, K] -> logits [B, K, V] of the next, and the next state: what the search asks for.
        There is nothing in the memory."""
        output, state = self.recurrence.step(self.dropout(self.embedding(tokens.flatten())), state)
        return self.score(self.dropout(output)).unflatten(0, tokens.shape), state

    def log_probs(self, tokens: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """How likely a text is, token by token, as it is heard.

        Args:
            tokens: [B, 1 + T], the first being what was heard last before them.
            state: before that one, of B rows.

        Returns:
            the natural log probability of each but the first [B, T], and the state after the last but one.

        Raises:
            UserError: the state is of another number of rows, or of another recurrence.
        """
        self._check(state, len(tokens))
        chunk = self.recompute if torch.is_grad_enabled() and self.recompute else tokens.shape[1]
        found = []
        for start in range(0, tokens.shape[1] - 1, chunk):
            heard = tokens[:, start : start + chunk + 1]
            if chunk < tokens.shape[1] - 1:
                each, state = checkpoint(self._log_probs, heard, state, use_reentrant=False)
            else:
                each, state = self._log_probs(heard, state)
            found.append(each)
        return torch.cat(found, 1), state

    def _log_probs(self, tokens: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        scores, state = self.scores(tokens[:, :-1], state)
        return -F.cross_entropy(scores.float().transpose(1, 2), tokens[:, 1:], reduction="none"), state

    def _check(self, state: Tree, rows: int) -> None:
        expected, found = _shapes(self.initial_state(rows)), _shapes(state)
        if expected != found:
            name = type(self.recurrence).__name__
            raise UserError(
                f"the state does not fit: a {name} of {rows} rows has one of the shapes {expected}, not {found}; give "
                "that of the same recurrence and batch size, or begin with initial_state"
            )


def _shapes(state: Tree) -> list[Any]:
    return [tuple(leaf.shape) for leaf in leaves(state)]

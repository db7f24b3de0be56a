"""Ensemble of decoders: averaged word probabilities. Members are used through the decoder interface only."""

import math
from collections.abc import Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from vlrnn.nn.batching import Tree
from vlrnn.nn.decoders.base import Decoder, DecoderOutput
from vlrnn.nn.encoders.base import Context


class Ensemble(Decoder):
    """Averages the next-word probabilities of several decoders (Lakshminarayanan, Pritzel, Blundell 2017, section 2.4,
    word by word).

    Memory and state are tuples with one entry per member. Conditions are those of the members, concatenated: [B, K,
    members * C].

    Args:
        decoders: the members, of equal sizes.
    """

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        super().__init__()
        self.decoders = nn.ModuleList(decoders)

    def build(self, vocab_size: int, feature_dim: int, condition_dim: int = 0) -> Self:
        for decoder in self._members():
            decoder.build(vocab_size, feature_dim, condition_dim // len(self.decoders))
        return self

    def prepare(self, context: Context) -> Tree:
        return tuple(decoder.prepare(context) for decoder in self._members())

    def init_state(self, memory: Tree, condition: Tensor | None = None) -> Tree:
        conditions = [None] * len(self.decoders) if condition is None else self._parts(condition)
        members = zip(self._members(), memory, conditions, strict=True)
        return tuple(decoder.init_state(*each) for decoder, *each in members)

    def step(self, tokens: Tensor, state: Tree, memory: Tree) -> tuple[DecoderOutput, Tree]:
        members = zip(self._members(), state, memory, strict=True)
        outputs, states = zip(*(decoder.step(tokens, *each) for decoder, *each in members), strict=True)
        return _joined(outputs), states

    def unroll(self, tokens: Tensor, active_counts: Sequence[int], state: Tree, memory: Tree) -> DecoderOutput:
        members = zip(self._members(), state, memory, strict=True)
        return _joined([decoder.unroll(tokens, active_counts, *each) for decoder, *each in members])

    def logits(self, hidden: Tensor) -> Tensor:
        """Log probabilities of the next word, which are valid logits."""
        scores = [decoder.logits(each) for decoder, each in zip(self._members(), self._parts(hidden), strict=True)]
        log_probs = torch.stack(scores).float().log_softmax(-1)
        return log_probs.logsumexp(0) - math.log(len(scores))

    def _members(self) -> list[Decoder]:
        return cast(list[Decoder], list(self.decoders))

    def _parts(self, vectors: Tensor) -> tuple[Tensor, ...]:
        return vectors.chunk(len(self.decoders), -1)


def _joined(outputs: Sequence[DecoderOutput]) -> DecoderOutput:
    """Concatenated hidden vectors; means of attention and gates over the members that have them."""
    return DecoderOutput(
        torch.cat([each.hidden for each in outputs], -1),
        _mean([each.attention for each in outputs if each.attention is not None]),
        _mean([each.gate for each in outputs if each.gate is not None]),
    )


def _mean(values: Sequence[Tensor]) -> Tensor | None:
    return torch.stack(list(values)).mean(0) if values else None

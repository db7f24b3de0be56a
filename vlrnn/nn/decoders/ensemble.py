"""Several decoders that speak as one. It knows of them what every decoder has, and no more."""

import math
from collections.abc import Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from vlrnn.nn.batching import Tree
from vlrnn.nn.decoders.base import Decoder, Said
from vlrnn.nn.encoders.base import Context


class Ensemble(Decoder):
    """Decoders that hear each other's words; the probabilities that they give the next are averaged (Lakshminarayanan,
    Pritzel, Blundell 2017, section 2.4, word by word).

    Where a question was asked, its vector is the members' side by side, [B, members * Q], for each may have understood
    it in its own way. Memory and state are tuples of theirs.

    Args:
        decoders: the members, alike in their widths.
    """

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        super().__init__()
        self.decoders = nn.ModuleList(decoders)

    def build(self, vocabulary_size: int, context_width: int, question_width: int = 0) -> Self:
        for decoder in self._members():
            decoder.build(vocabulary_size, context_width, question_width // len(self.decoders))
        return self

    def prepare(self, context: Context) -> Tree:
        contexts = [context] * len(self.decoders)
        if context.question is not None:
            contexts = [context._replace(question=each) for each in self._parts(context.question)]
        return tuple(decoder.prepare(each) for decoder, each in zip(self._members(), contexts, strict=True))

    def initial_state(self, memory: Tree) -> Tree:
        return tuple(decoder.initial_state(each) for decoder, each in zip(self._members(), memory, strict=True))

    def embed(self, tokens: Tensor) -> Tensor:
        return torch.cat([decoder.embed(tokens) for decoder in self._members()], -1)

    def advance(self, words: Tensor, state: Tree, memory: Tree) -> tuple[Said, Tree]:
        steps = zip(self._members(), self._parts(words), state, memory, strict=True)
        said, states = zip(*(decoder.advance(*each) for decoder, *each in steps), strict=True)
        return _together(said), states

    def run(self, words: Tensor, alive: Sequence[int], state: Tree, memory: Tree) -> Said:
        runs = zip(self._members(), self._parts(words), state, memory, strict=True)
        return _together([decoder.run(each, alive, start, known) for decoder, each, start, known in runs])

    def readout(self, output: Tensor) -> Tensor:
        """Log probabilities of the next word, which are logits as well."""
        scores = [decoder.readout(each) for decoder, each in zip(self._members(), self._parts(output), strict=True)]
        log_probs = torch.stack(scores).float().log_softmax(-1)
        return log_probs.logsumexp(0) - math.log(len(scores))

    def _members(self) -> list[Decoder]:
        return cast(list[Decoder], list(self.decoders))

    def _parts(self, vectors: Tensor) -> tuple[Tensor, ...]:
        return vectors.chunk(len(self.decoders), -1)


def _together(said: Sequence[Said]) -> Said:
    """Outputs side by side, and the means of where the members looked and of what they let in."""
    return Said(
        torch.cat([each.output for each in said], -1),
        _mean([each.attention for each in said if each.attention is not None]),
        _mean([each.gate for each in said if each.gate is not None]),
    )


def _mean(values: Sequence[Tensor]) -> Tensor | None:
    return torch.stack(list(values)).mean(0) if values else None

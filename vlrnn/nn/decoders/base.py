"""Decoders: from the features of an image to the words of a text, one at a time. They use contexts and ids alone.

`prepare` computes once for an image what does not depend on the time step; `init_state` gives the state before the
first word; `step` takes one word per row; `logits` scores the next one. Teacher forcing (`forward`) and search
(vlrnn.generation) run the same formulas.

Shapes: B images, K rows for each (beams, captions or questions of an image), M rows in all, T words, N regions, D
their width, C the width of a condition, H that of the hidden vector, V the vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.nn.batching import SortedRowPacker, Tree, index_rows, leaves, map_tree, pad_rows, stack_steps
from vlrnn.nn.encoders.base import Context


class DecoderOutput(NamedTuple):
    """The output of steps.

    `hidden` [..., H], from which `Decoder.logits` computes scores: concatenated, where the output layer takes several
    vectors; `attention` [..., N], weights over regions, of decoders with attention; `gate` [...] in 0..1, the share of
    the attended features that enters the recurrence, of decoders that have one.
    """

    hidden: Tensor
    attention: Tensor | None = None
    gate: Tensor | None = None


Step = Callable[[Tensor, Tree, Tree], tuple[DecoderOutput, Tree]]
"""Input of a time step [B, K, ...], state, memory -> output [B, K, ...], next state."""


class Decoder(Configurable, nn.Module):
    """The interface. A decoder implements `build`, `prepare`, `init_state`, `step` and `logits`; `forward` follows.

    Leaves of the memory are [B, ...], of images, and are never copied for rows; leaves of the state are [B * K, ...].
    """

    def build(self, vocab_size: int, feature_dim: int, condition_dim: int = 0) -> Self:
        """Make the parameters, once.

        Args:
            vocab_size: V.
            feature_dim: D, of the regions.
            condition_dim: C, of a vector that each row is conditioned on, a fused question; 0 if there is none.

        Returns:
            itself.
        """
        raise NotImplementedError

    def prepare(self, context: Context) -> Tree:
        """The memory: what depends on the image alone, with leaves [B, ...]."""
        raise NotImplementedError

    def init_state(self, memory: Tree, condition: Tensor | None = None) -> Tree:
        """The state before the first word.

        Args:
            memory: of B images.
            condition: [B, K, C]; what later steps need of it is part of the state.

        Returns:
            leaves [B * K, ...]; without a condition [B, ...], the same for all rows of an image.
        """
        raise NotImplementedError

    def step(self, tokens: Tensor, state: Tree, memory: Tree) -> tuple[DecoderOutput, Tree]:
        """One time step: tokens [B, K], state of B * K rows, memory of B images -> output [B, K, ...], next state."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next word: hidden [..., H] -> logits [..., V]. It is called only where they are needed."""
        raise NotImplementedError

    def unroll(self, tokens: Tensor, active_counts: Sequence[int], state: Tree, memory: Tree) -> DecoderOutput:
        """All steps of sentences: the part of `forward` that a decoder may replace by a faster one with the same
        result, embedding all words at once, or running the recurrence over whole sentences where no step needs the
        output of the one before.

        Args:
            tokens: [B, K, T].
            active_counts: length T, non-increasing: the number of images with unfinished rows at each step. Images are
                in the order in which they finish, last first.
            state: of B * K rows.
            memory: of B images.

        Returns:
            output [B, K, T, ...]; places behind the last word of a row have no meaning.
        """
        return unroll_steps(self.step, tokens, active_counts, state, memory)

    def forward(
        self, tokens: Tensor, memory: Tree, image_index: Tensor, condition: Tensor | None = None
    ) -> DecoderOutput:
        """Teacher forcing.

        Rows are packed as [B, K], K being the most rows of an image, so that the memory is not copied; images whose
        rows have ended take no further steps.

        Args:
            tokens: [M, T], `<bos>` first; the output at t scores the token at t + 1. Behind a row's last word is
                `<pad>`, and the output there has no meaning. Best on the CPU, as `image_index`: a GPU is not waited for
                then.
            memory: of B images.
            image_index: [M], 0..B-1, the image of each row.
            condition: [M, C].

        Returns:
            hidden [M, T, H], attention [M, T, N] or None, gate [M, T] or None.
        """
        first = leaves(memory)[0]
        grid = SortedRowPacker(tokens, image_index, batch_size=len(first))
        memory = index_rows(memory, grid.order)
        if condition is None:
            state = map_tree(lambda leaf: leaf.repeat_interleave(grid.rows, 0), self.init_state(memory))
        else:
            state = self.init_state(memory, grid.pack(condition))
        packed = grid.pack(tokens).to(first.device, non_blocking=True)
        return map_tree(grid.unpack, self.unroll(packed, grid.active_counts, state, memory))


def unroll_steps(step: Step, inputs: Tensor, active_counts: Sequence[int], state: Tree, memory: Tree) -> DecoderOutput:
    """Apply a step to inputs [B, K, T, ...] one time step after the other; further arguments and result as those of
    `Decoder.unroll`. Outputs are zero where an image takes no step."""
    batch_size, rows, time = inputs.shape[:3]
    steps: list[DecoderOutput] = []
    for each, count in zip(inputs.unbind(2), active_counts, strict=True):
        if count == 0 and steps:  # the first step is taken even when there are no rows: it gives the shapes
            break
        if count < len(leaves(memory)[0]):
            memory = map_tree(lambda leaf: leaf[:count], memory)  # noqa: B023 (called at once)
            state = map_tree(lambda leaf: leaf[: count * rows], state)  # noqa: B023
        output, state = step(each[:count], state, memory)
        steps.append(map_tree(lambda leaf: pad_rows(leaf, batch_size), output))
    return map_tree(lambda *leaves: stack_steps(leaves, time), *steps)


def with_condition(features: Tensor, condition: Tensor | None) -> Tensor:
    """Features [B, D] of images, joined to the conditions [B, K, C] of their rows: [B * K, D + C]. Without a condition
    the features as they are."""
    if condition is None:
        return features
    return torch.cat([features[:, None].expand(-1, condition.shape[1], -1), condition], -1).flatten(0, 1)


class StateInit(nn.Module):
    """A first state from features: to every leaf of a state is added tanh of a linear map of them.

    Args:
        feature_dim: F.
        start: a state of one row; gives the sizes of the leaves.
    """

    def __init__(self, feature_dim: int, start: Tree) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(feature_dim, leaf[0].numel()) for leaf in leaves(start))

    def forward(self, features: Tensor, start: Tree) -> Tree:
        """Features [B, F] and the state to start from, of B rows -> the first state."""
        maps = iter(self.maps)
        return map_tree(lambda leaf: leaf + torch.tanh(next(maps)(features)).view_as(leaf), start)

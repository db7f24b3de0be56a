"""Decoders: from what is known to words, one at a time. They know no image and no spelling, only contexts and ids.

How a caption comes about: `prepare` does once for an image what does not depend on the time step; `initial_state` says
where the recurrence starts; `step` takes one word in and gives the scores of the next. Teacher forcing (`read`) and
search (vlrnn.generation) both run these same three, so that what is trained is what speaks.

Shapes: B images, K rows for each (beams, or an image's captions), M rows in all, T words, N regions, D their width,
H the recurrence's width, E the embedding's, V the vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from vlrnn.config import Part
from vlrnn.nn.batching import Grid, Tree, fill_up, leaves, map_tree, select, stack_steps
from vlrnn.nn.encoders.base import Context


class Said(NamedTuple):
    """What steps leave: `output` [..., H'], which the readout turns into scores; where the decoder looked, `attention`
    [..., N], if it attends; and how much of what it saw it let in, `gate` [...] in 0..1, if it has a gate."""

    output: Tensor
    attention: Tensor | None = None
    gate: Tensor | None = None


class Decoder(Part, nn.Module):
    """The interface, and what all decoders share: reading sentences with the formulas of a step.

    Memory leaves are [B, ...] and are never copied for the rows of an image; state leaves are [B * K, ...].
    """

    def build(self, vocabulary_size: int, context_width: int, question_width: int = 0) -> Self:
        """Make the parameters, for V words, contexts of width D and, where there are any, questions of width Q; returns
        itself."""
        raise NotImplementedError

    def prepare(self, context: Context) -> Tree:
        """The memory: what of the context does not depend on the time step."""
        raise NotImplementedError

    def initial_state(self, memory: Tree) -> Tree:
        """The state before the first word; one row for each image."""
        raise NotImplementedError

    def embed(self, tokens: Tensor) -> Tensor:
        """Words as vectors: tokens [...] -> [..., E]. Of a whole sentence at once, where it is known."""
        raise NotImplementedError

    def advance(self, words: Tensor, state: Tree, memory: Tree) -> tuple[Said, Tree]:
        """Take in one word per row, words [B, K, E], short of scoring the next: output [B, K, H'], and the next state.

        What does not feed the next step is left to `readout`, which can do it for all steps at once.
        """
        raise NotImplementedError

    def readout(self, output: Tensor) -> Tensor:
        """Scores of the next word: [..., H'] -> logits [..., V]."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state: Tree, memory: Tree) -> tuple[Tensor, Tree]:
        """Take in one word per row, tokens [B, K] -> logits [B, K, V] of the next, and the next state."""
        said, state = self.advance(self.embed(tokens), state, memory)
        return self.readout(said.output), state

    def forward(self, tokens: Tensor, memory: Tree, image_of: Tensor) -> Tensor:
        """Teacher forcing: tokens [M, T], row m about image image_of[m] -> logits [M, T, V]."""
        return self.readout(self.read(tokens, memory, image_of).output)

    def read(self, tokens: Tensor, memory: Tree, image_of: Tensor) -> Said:
        """Teacher forcing short of the scores, which a caller may want of some words only.

        The rows are laid out as [B, K], K being the most rows of an image, so that the memory is used as it is; images
        about which the most is said come first, so that those about which no more is said can leave.

        Args:
            tokens: [M, T], `<bos>` first; position t is answered with what is said of position t + 1. Behind a row's
                last word is `<pad>`, and nothing is said of it.
            memory: of B images.
            image_of: [M], 0..B-1, the image that a row is about.

        Returns:
            output [M, T, H'], attention [M, T, N] or None, and gate [M, T] or None.
        """
        grid = Grid(tokens, image_of, batch_size=leaves(memory)[0].shape[0])
        memory = select(memory, grid.order)
        state = map_tree(lambda leaf: leaf.repeat_interleave(grid.rows, 0), self.initial_state(memory))
        said = self.run(self.embed(grid.lay(tokens)), grid.alive, state, memory)
        return map_tree(grid.pick, said)

    def run(self, words: Tensor, alive: Sequence[int], state: Tree, memory: Tree) -> Said:
        """All words of sentences, step by step; a decoder that need not look between steps can do better.

        Args:
            words: [B, K, T, E].
            alive: T numbers that do not rise: how many of the images have words left at each step, the first ones.
            state: of B * K rows.
            memory: of B images.

        Returns:
            output [B, K, T, H'], attention [B, K, T, N] or None, and gate [B, K, T] or None; zeros where no words are
            left.
        """
        batch_size, rows, time, _ = words.shape
        steps: list[Said] = []
        for word, count in zip(words.unbind(2), alive, strict=True):
            if count == 0 and steps:  # the first step is taken even when there are no rows: it gives the shapes
                break
            if count < len(leaves(memory)[0]):
                memory = map_tree(lambda leaf: leaf[:count], memory)  # noqa: B023 (called at once)
                state = map_tree(lambda leaf: leaf[: count * rows], state)  # noqa: B023
            said, state = self.advance(word[:count], state, memory)
            steps.append(map_tree(lambda leaf: fill_up(leaf, batch_size), said))
        return map_tree(lambda *leaves: stack_steps(leaves, time), *steps)


def _known(pooled: Tensor, context: Context) -> Tensor:
    """The mean of the regions, and the question behind it, where one was asked."""
    return pooled if context.question is None else torch.cat([pooled, context.question], -1)


class FirstState(nn.Module):
    """A first state from what is known: to every leaf of a state is added tanh of a linear map of [B, C].

    Args:
        width: C.
        start: a state of one row; gives the leaves' sizes.
    """

    def __init__(self, width: int, start: Tree) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(width, leaf[0].numel()) for leaf in leaves(start))

    def forward(self, known: Tensor, start: Tree) -> Tree:
        """What is known [B, C], and the state to start from, of B rows -> the first state."""
        maps = iter(self.maps)
        return map_tree(lambda leaf: leaf + torch.tanh(next(maps)(known)).view_as(leaf), start)

"""Decoders: from what is known to words, one at a time. They know no image and no spelling, only contexts and ids.

How a caption comes about: `prepare` does once for an image what does not depend on the time step; `initial_state` says
where the recurrence starts; `step` takes one word in and gives the scores of the next. Teacher forcing (`read`) and
search (vlrnn.decoding) both run these same three, so that what is trained is what speaks.

Shapes: B images, K rows for each (beams, or an image's captions), M rows in all, T words, N regions, D their width,
H the recurrence's width, E the embedding's, V the vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.attention import Attention, as_multiplied
from vlrnn.nn.context import Context
from vlrnn.nn.layout import Grid, fill_up, stack_steps
from vlrnn.nn.recurrence import Recurrence, that_speaks
from vlrnn.nn.regions import RegionMap
from vlrnn.nn.tree import Tree, leaves, map_tree, select
from vlrnn.nn.word_scores import WordScores
from vlrnn.parts import Part


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


class ShowAndTell(Decoder):
    """The image is given once, as the first input of the recurrence (Vinyals et al. 2015, eq. 10 to 12), and the
    question with it, where there is one. A question is also added to what is said at every word, so that an answer need
    not be carried through the recurrence: of few examples, that is learnt late.

    Args:
        recurrence: any.
        embedding: E.
        dropout: of the words that go in and of the output.
    """

    class Memory(NamedTuple):
        image: Tensor  # [B, E]
        question: Tensor | None  # [B, H]

    def __init__(self, recurrence: Recurrence, embedding: int = 512, dropout: float = 0.5) -> None:
        super().__init__()
        self.recurrence = that_speaks(recurrence)
        self.embedding_width = embedding
        self.dropout = nn.Dropout(dropout)

    def build(self, vocabulary_size: int, context_width: int, question_width: int = 0) -> Self:
        self.embedding = nn.Embedding(vocabulary_size, self.embedding_width, padding_idx=0)
        self.image = nn.Linear(context_width + question_width, self.embedding_width)
        self.recurrence.build(self.embedding_width)
        self.question = nn.Linear(question_width, self.recurrence.width) if question_width else None
        self.score = WordScores(self.recurrence.width, vocabulary_size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        return self

    def prepare(self, context: Context) -> Tree:
        question = None if self.question is None else self.question(context.question)
        return self.Memory(self.image(_known(context.pooled, context)), question)

    def initial_state(self, memory: Tree) -> Tree:
        _, state = self.recurrence.step(memory.image, self.recurrence.initial_state(memory.image.shape[0]))
        return state

    def embed(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.embedding(tokens.to(self.embedding.weight.device, non_blocking=True)))

    def advance(self, words: Tensor, state: Tree, memory: Tree) -> tuple[Said, Tree]:
        output, state = self.recurrence.step(words.flatten(0, 1), state)
        return self._said(output.unflatten(0, words.shape[:2]), memory), state

    def run(self, words: Tensor, alive: Sequence[int], state: Tree, memory: Tree) -> Said:
        outputs, _ = self.recurrence.scan(words.flatten(0, 1), state)  # [B * K, T, H]
        return self._said(outputs.unflatten(0, words.shape[:2]), memory)

    def _said(self, output: Tensor, memory: Tree) -> Said:
        """What the recurrence says [B, K, ..., H], and with it the question."""
        if memory.question is not None:
            output = output + memory.question.view(output.shape[0], *[1] * (output.dim() - 2), -1)
        return Said(output)

    def readout(self, output: Tensor) -> Tensor:
        return self.score(self.dropout(output))


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

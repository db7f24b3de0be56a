"""Interface of decoders: the features of an image to the words of a text, one per time step.

`prepare` computes once for an image what does not depend on the time step; `init_state` gives the state before the
first word; `step` takes one word per row; `logits` scores the next one. Teacher forcing (`forward`) and search
(vlrnn.generation) give the same results.

Shapes: B images, K rows for each (beams, captions or questions of an image), M rows in all, T words, N regions, D
their width, C the width of a condition, H that of the hidden vector, V the vocabulary.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.nn.batching import (
    SortedRowPacker,
    Tree,
    check_leaves,
    check_pair,
    check_shape,
    index_rows,
    leaves,
    map_tree,
    pad_rows,
    stack_steps,
    trial,
)
from vlrnn.nn.encoders.base import Context


class DecoderOutput(NamedTuple):
    """The output of steps.

    `hidden` [..., H], the input of `Decoder.logits`, concatenated where the output layer takes several vectors;
    `attention` [..., N], weights over regions, of decoders with attention; `gate` [...] in 0..1, by which attended
    features are scaled before they enter the recurrence, of decoders with such a gate.
    """

    hidden: Tensor
    attention: Tensor | None = None
    gate: Tensor | None = None


Step = Callable[[Tensor, Tree, Tree], tuple[DecoderOutput, Tree]]
"""Input of a time step [B, K, ...], state, memory -> output [B, K, ...], next state."""


class Decoder(Configurable, nn.Module):
    """Interface of decoders. Subclasses implement `build`, `prepare`, `init_state`, `step` and `logits`; `forward`
    follows from these.

    Leaves of the memory are [B, ...], one row per image, and never copied for rows; leaves of the state are
    [B * K, ...]. The shapes that a class outside vlrnn returns are checked before its first `prepare`.
    """

    required = ("build", "prepare", "init_state", "step", "logits")
    _unchecked: tuple[int, int] | None = None  # V and C, of a built decoder that is to be checked

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "prepare" in vars(cls):
            cls.prepare = _checked_first(vars(cls)["prepare"])  # type: ignore[method-assign]

    def check_built(self, vocab_size: int, feature_dim: int, condition_dim: int = 0) -> None:
        self._unchecked = vocab_size, condition_dim
        if condition_dim and len(inspect.signature(self.init_state).parameters) < 2:
            raise UserError(_NO_CONDITION.format(type(self).__name__, "it takes none"))

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
            condition: [B, K, C]; stored in the state where later steps use it.

        Returns:
            leaves [B * K, ...]; without a condition [B, ...], the same for all rows of an image.
        """
        raise NotImplementedError

    def step(self, tokens: Tensor, state: Tree, memory: Tree) -> tuple[DecoderOutput, Tree]:
        """One time step: tokens [B, K], state of B * K rows, memory of B images -> output [B, K, ...], next state."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the next word: hidden [..., H] -> [..., V]. Called only where logits are needed."""
        raise NotImplementedError

    def unroll(self, tokens: Tensor, active_counts: Sequence[int], state: Tree, memory: Tree) -> DecoderOutput:
        """All time steps under teacher forcing. A decoder may override it with a faster version of the same result: all
        words embedded at once, or the recurrence run over whole sentences where no step takes the output of the step
        before.

        Args:
            tokens: [B, K, T].
            active_counts: length T, non-increasing: number of images with unfinished rows at each step. Images are
                sorted by the length of their longest row, longest first.
            state: of B * K rows.
            memory: of B images.

        Returns:
            output [B, K, T, ...], undefined after the last word of a row.
        """
        return unroll_steps(self.step, tokens, active_counts, state, memory)

    def forward(
        self, tokens: Tensor, memory: Tree, image_index: Tensor, condition: Tensor | None = None
    ) -> DecoderOutput:
        """Teacher forcing.

        Rows are packed as [B, K], K being the most rows of an image, so that the memory is not copied. Images whose
        rows have ended are left out of further steps.

        Args:
            tokens: [M, T], `<bos>` first, padded with `<pad>`; the output at step t predicts the token at t + 1, and is
                undefined after the last word of a row. On the CPU, like `image_index`, to avoid synchronizing a GPU.
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


_NO_CONDITION = (
    "{0}.init_state(memory, condition) must return a state [B * K, ...] with the condition [B, K, C], the fused "
    "question; {1}. A decoder without condition is for captions"
)


def _checked_first(prepare: Callable[..., Tree]) -> Callable[..., Tree]:
    """A method `prepare` that checks a new decoder at its first call."""

    @wraps(prepare)
    def checked(self: Decoder, context: Context) -> Tree:
        if self._unchecked is not None and len(context.regions) and not torch.compiler.is_compiling():
            (vocab_size, condition_dim), self._unchecked = self._unchecked, None
            try:
                with trial(self):
                    _check_decoder(self, context, vocab_size, condition_dim)
            except UserError:
                self._unchecked = vocab_size, condition_dim
                raise
        return prepare(self, context)

    return checked


def _check_decoder(decoder: Decoder, context: Context, vocab_size: int, condition_dim: int) -> None:
    """Check what the methods of a decoder return for three images, each with two rows."""
    name = type(decoder).__name__
    context = index_rows(context, torch.arange(3) % len(context.regions))
    memory = decoder.prepare(context)
    check_leaves(memory, 3, f"{name}.prepare", "[B, ...] as the memory")
    if not leaves(memory):
        raise UserError(f"{name}.prepare must return at least one tensor [B, ...] as the memory")
    if condition_dim:
        state = decoder.init_state(memory, context.pooled.new_zeros(3, 2, condition_dim))
        if any(isinstance(leaf, Tensor) and leaf.shape[:1] == (3,) for leaf in leaves(state)):
            raise UserError(_NO_CONDITION.format(name, "it returns one row for each image"))
        check_leaves(state, 6, f"{name}.init_state", "[B * K, ...] as the state")
    else:
        state = decoder.init_state(memory)
        check_leaves(state, 3, f"{name}.init_state", "[B, ...] as the state")
        state = map_tree(lambda leaf: leaf.repeat_interleave(2, 0), state)
    found = decoder.step(torch.ones(3, 2, dtype=torch.long, device=context.regions.device), state, memory)
    check_pair(found, f"{name}.step", "a DecoderOutput and the next state")
    output, after = found
    if not isinstance(output, DecoderOutput):
        raise UserError(
            f"{name}.step must return a DecoderOutput(hidden [B, K, H]) first, not a {type(output).__name__}"
        )
    check_shape(output.hidden, (3, 2, None), f"{name}.step: hidden", "[B, K, H]")
    if output.attention is not None:
        check_shape(output.attention, (3, 2, None), f"{name}.step: attention", "[B, K, N]")
    if output.gate is not None:
        check_shape(output.gate, (3, 2), f"{name}.step: gate", "[B, K]")
    check_leaves(after, 6, f"{name}.step", "[B * K, ...] as the next state")
    if [leaf.shape for leaf in leaves(after)] != [leaf.shape for leaf in leaves(state)]:
        shapes = [[list(leaf.shape) for leaf in leaves(each)] for each in (after, state)]
        raise UserError(
            f"{name}.step must return a next state of the same shapes as the state, {shapes[1]}, not {shapes[0]}"
        )
    check_shape(decoder.logits(output.hidden), (3, 2, vocab_size), f"{name}.logits", "[B, K, V]")


def unroll_steps(step: Step, inputs: Tensor, active_counts: Sequence[int], state: Tree, memory: Tree) -> DecoderOutput:
    """Apply a step to inputs [B, K, T, ...] one time step after the other; further arguments and result as those of
    `Decoder.unroll`. Outputs are zero where an image takes no step."""
    batch_size, rows, time = inputs.shape[:3]
    steps: list[DecoderOutput] = []
    for each, count in zip(inputs.unbind(2), active_counts, strict=True):
        if count == 0 and steps:  # the first step runs even without rows, to give the shapes
            break
        if count < len(leaves(memory)[0]):
            memory = map_tree(lambda leaf: leaf[:count], memory)  # noqa: B023 (called at once)
            state = map_tree(lambda leaf: leaf[: count * rows], state)  # noqa: B023
        output, state = step(each[:count], state, memory)
        steps.append(map_tree(lambda leaf: pad_rows(leaf, batch_size), output))
    return map_tree(lambda *leaves: stack_steps(leaves, time), *steps)


def with_condition(features: Tensor, condition: Tensor | None) -> Tensor:
    """Features [B, D] of images concatenated with the conditions [B, K, C] of their rows: [B * K, D + C]; without a
    condition the features unchanged."""
    if condition is None:
        return features
    return torch.cat([features[:, None].expand(-1, condition.shape[1], -1), condition], -1).flatten(0, 1)


class StateInit(nn.Module):
    """Initial state from features: tanh of a linear map of the features is added to every leaf of a state.

    Args:
        feature_dim: F.
        start: a state of one row, for the sizes of the leaves.
    """

    def __init__(self, feature_dim: int, start: Tree) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(feature_dim, leaf[0].numel()) for leaf in leaves(start))

    def forward(self, features: Tensor, start: Tree) -> Tree:
        """Features [B, F] and a state of B rows -> the initial state."""
        maps = iter(self.maps)
        return map_tree(lambda leaf: leaf + torch.tanh(next(maps)(features)).view_as(leaf), start)


_FEW_ROWS = 8
"""Up to this number of rows, the time is that of reading the weight."""


class WordScores(nn.Linear):
    """Output layer of a decoder, `nn.Linear` [..., E] -> [..., V], fast for the few rows of a beam search.

    On a CPU, W x^T is faster than x W^T, the same product, for few rows x and a large W (`benchmarks/beam_search.py`,
    one image). With gradients, torch.compile or export the plain form is used.
    """

    def forward(self, vectors: Tensor) -> Tensor:
        flat = vectors.reshape(-1, self.in_features)
        plain = torch.is_grad_enabled() or torch.compiler.is_compiling() or vectors.device.type != "cpu"
        if plain or len(flat) > _FEW_ROWS:
            return super().forward(vectors)
        return torch.addmm(self.bias[:, None], self.weight, flat.T).T.reshape(*vectors.shape[:-1], self.out_features)

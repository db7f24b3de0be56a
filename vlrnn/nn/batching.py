"""Batches of rows with different lengths: nested tensors, length masks, packing of rows by time step.

States and memories are tuples (of tuples) of tensors, batch first; `None` stands for an absent tensor. What a class
outside vlrnn returns is checked to be such.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlrnn.errors import UserError

Tree = Any
"""A tensor, None, or a (named) tuple of trees."""


def map_tree(function: Callable[..., Tensor], tree: Tree, *others: Tree) -> Tree:
    """Apply a function to every leaf (and to the corresponding leaves of further trees)."""
    if tree is None:
        return None
    if isinstance(tree, tuple):
        mapped = [map_tree(function, *each) for each in zip(tree, *others, strict=True)]
        return type(tree)(*mapped) if hasattr(tree, "_fields") else tuple(mapped)
    return function(tree, *others)


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, from left to right."""
    if tree is None:
        return []
    if isinstance(tree, tuple):
        return [leaf for each in tree for leaf in leaves(each)]
    return [tree]


def index_rows(tree: Tree, rows: Tensor) -> Tree:
    """Pick rows [R], which may lie on the CPU, of every leaf: [X, ...] -> [R, ...]."""
    return map_tree(lambda leaf: leaf.index_select(0, rows.to(leaf.device, non_blocking=True)), tree)


def pad_rows(values: Tensor, batch_size: int) -> Tensor:
    """[b, ...] -> [B, ...], padded with zeros."""
    if len(values) == batch_size:
        return values
    return torch.cat([values, values.new_zeros(batch_size - len(values), *values.shape[1:])])


def stack_steps(steps: Sequence[Tensor], time: int) -> Tensor:
    """Up to T steps of [B, K, ...] -> [B, K, T, ...], padded with zeros."""
    missing = [torch.zeros_like(steps[0])] * (time - len(steps))
    return torch.stack([*steps, *missing], 2)


def length_mask(lengths: Tensor, values: Tensor) -> Tensor:
    """Mask [B, T] of the steps of values [B, T, ...] that are within the lengths [B]."""
    places = torch.arange(values.shape[1], device=values.device)
    return places < lengths.to(values.device, non_blocking=True)[:, None]


class RowPacker:
    """Packs M rows about B images, row m about image `image_index[m]`, as [B, K], padded with zeros.

    `rows` is K. Values may be on another device than `image_index`, which should be on the CPU: reading it from a GPU
    synchronizes.
    """

    def __init__(self, image_index: Tensor, batch_size: int) -> None:
        by_image = image_index.argsort(stable=True)
        counts = torch.bincount(image_index, minlength=batch_size)
        starts = counts.cumsum(0) - counts
        self.rows = max(int(counts.max()), 1)
        slot = torch.empty_like(by_image)
        slot[by_image] = torch.arange(len(by_image), device=by_image.device) - starts[image_index[by_image]]
        self.place = image_index * self.rows + slot  # [M]
        self.batch_size = batch_size

    def pack(self, values: Tensor) -> Tensor:
        """[M, ...] -> [B, K, ...]."""
        grid = values.new_zeros(self.batch_size * self.rows, *values.shape[1:])
        return grid.index_copy(0, self._place(values), values).unflatten(0, (self.batch_size, self.rows))

    def unpack(self, values: Tensor) -> Tensor:
        """[B, K, ...] -> [M, ...]."""
        return values.flatten(0, 1).index_select(0, self._place(values))

    def _place(self, values: Tensor) -> Tensor:
        return self.place.to(values.device, non_blocking=True)


class SortedRowPacker(RowPacker):
    """Packs rows of tokens [M, T] such that the images with the longest rows come first.

    `order` [B] is that order of the images; `active_counts` has the number of images with unfinished rows at each of
    the T steps.
    """

    def __init__(self, tokens: Tensor, image_index: Tensor, batch_size: int) -> None:
        position = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        row_lengths = ((tokens != 0) * position).amax(1)  # [M]
        lengths = row_lengths.new_zeros(batch_size).scatter_reduce(0, image_index, row_lengths, "amax")  # [B]
        self.order = lengths.argsort(descending=True, stable=True)
        self.active_counts: list[int] = (lengths[:, None] >= position).sum(0).tolist()
        super().__init__(self.order.argsort()[image_index], batch_size)


# Checks of what the methods of classes outside vlrnn return.


@contextmanager
def trial(part: nn.Module) -> Iterator[None]:
    """Run a part once for checks: in evaluation mode, without gradients, leaving modes and random state unchanged.

    Raises:
        UserError: the part fails; names the exception and the line of its file.
    """
    modes = {module: module.training for module in part.modules()}
    part.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    except UserError:
        raise
    except Exception as fault:
        frames = [
            (frame.f_globals.get("__name__", ""), frame, line) for frame, line in traceback.walk_tb(fault.__traceback__)
        ]
        own = [(frame.f_code, line) for name, frame, line in frames if name.partition(".")[0] not in ("vlrnn", "torch")]
        place = "".join(f" in {code.co_name} ({Path(code.co_filename).name}, line {line})" for code, line in own[-1:])
        raise UserError(
            f"{type(part).__name__}: fails{place}: {type(fault).__name__}: {' '.join(str(fault).split())[:300]}"
        ) from fault
    finally:
        for module, mode in modes.items():
            module.training = mode


def check_leaves(tree: Tree, rows: int, place: str, shape: str) -> None:
    """Check that a tree has only tensors of so many rows.

    Args:
        tree: returned by a method.
        rows: length of the first dimension.
        place: the method, for errors.
        shape: of the tensors, for errors: `[B, ...]`.

    Raises:
        UserError: it has anything else.
    """
    if not isinstance(tree, (Tensor, tuple, type(None))):
        raise UserError(f"{place} must return a tensor or a tuple of tensors {shape}, nested or not, not {_name(tree)}")
    for leaf in leaves(tree):
        if not isinstance(leaf, Tensor):
            raise UserError(
                f"{place} must return a tensor or a tuple of tensors {shape}, nested or not, not one with {_name(leaf)}"
            )
        if not leaf.dim() or len(leaf) != rows:
            raise UserError(f"{place} must return tensors {shape}, here [{rows}, ...], not {list(leaf.shape)}")


def _name(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def check_shape(value: Any, shape: Sequence[int | None], place: str, names: str) -> None:
    """Check that a value is a tensor of a shape, in which None is any size.

    Args:
        value: returned by a method.
        shape: expected.
        place: the method, for errors.
        names: of the dimensions, for errors: `[B, K, H]`.

    Raises:
        UserError: it is something else.
    """
    found = value.shape if isinstance(value, Tensor) else None
    if found is None or len(found) != len(shape) or any(b not in (None, a) for a, b in zip(found, shape, strict=True)):
        wanted = ", ".join(
            name if size is None else str(size) for name, size in zip(names.strip("[]").split(", "), shape, strict=True)
        )
        other = _name(value) if found is None else list(found)
        raise UserError(f"{place} must be a tensor {names}, here [{wanted}], not {other}")


def check_pair(value: Any, place: str, names: str) -> None:
    """Raise a UserError for a value that is no tuple of two; `place` and `names` as of `check_shape`."""
    if not isinstance(value, tuple) or len(value) != 2:
        raise UserError(f"{place} must return {names}, not {_name(value)}")

"""Nests of tensors: states and memories are tuples (of tuples) of tensors, and are moved without being known.

`None` stands for a tensor that is not there.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

Tree = Any
"""A tensor, None, or a (named) tuple of trees."""


def map_tree(function: Callable[..., Tensor], tree: Tree, *others: Tree) -> Tree:
    """Apply a function to every leaf (and to the leaves in the same place of further trees)."""
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


def select(tree: Tree, rows: Tensor) -> Tree:
    """Pick rows [R], which may lie on the CPU, of every leaf: [X, ...] -> [R, ...]."""
    return map_tree(lambda leaf: leaf.index_select(0, rows.to(leaf.device, non_blocking=True)), tree)

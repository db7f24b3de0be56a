"""The gradient of a loss on its way back through a recurrence: its norm at the state k steps back, and the largest gain
of one step. Takes steps and states; independent of cells, images and words.

Source: Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural
networks, ICML 2013, section 2.

Shapes: B rows, T steps, S numbers of a row's state.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vlrnn.nn.batching import Tree, leaves, map_tree

Step = Callable[[Tensor, Tree], tuple[Tensor, Tree]]
"""An input of B rows and the state before it -> the output, and the state after."""


class Flow(NamedTuple):
    """The gradient of a loss at the last of T steps with respect to the states before it.

    `norms` [1 + T]: the norm of its gradient over all rows, with respect to the output of the last step, at 0; and with
    respect to the state k steps earlier than the one that the last step left, at k. `layers` [1 + T, L]: the same
    with respect to the part of each layer, in states whose leaves are [B, L, ...]; else None. `parameters`: the norm of
    its gradient with respect to all parameters.
    """

    norms: Tensor
    layers: Tensor | None
    parameters: float


def flow(
    step: Step,
    inputs: Sequence[Tensor],
    state: Tree,
    loss: Callable[[Tensor], Tensor],
    *,
    parameters: Sequence[Tensor] = (),
    layers: int = 1,
) -> Flow:
    """Run over T inputs from a state, and measure the gradient at all states.

    Args:
        step: of the recurrence, or of a decoder that has one.
        inputs: T of them, what `step` takes.
        state: before the first.
        loss: of the output of the last step.
        parameters: whose gradient is measured.
        layers: of the state.
    """
    states = [map_tree(_requiring_gradient, state)]
    for each in inputs:
        output, state = step(each, states[-1])
        states.append(state)
    tracked = [[leaf for leaf in leaves(each) if leaf.requires_grad] for each in states[:-1]]
    wanted = [output, *(leaf for each in tracked for leaf in each), *parameters]
    found = iter(torch.autograd.grad(loss(output), wanted, allow_unused=True))
    last = _size([next(found)])
    by_state = [[next(found) for _ in each] for each in tracked][::-1]
    norms = torch.stack([last, *map(_size, by_state)])
    return Flow(norms, _by_layer(last, by_state, layers), float(_size(list(found))))


def jacobian(step: Step, x: Tensor, state: Tree) -> Tensor:
    """The Jacobian [S, S] of one step at one row: the derivative of each number of the next state with respect to each
    of this. Complex numbers count as two.

    Args:
        step: of the recurrence.
        x: its input [1, ...].
        state: of one row, before it.
    """
    size = _flat(state).shape[1]
    # Rows are independent: each of S copies of the row gives the gradient of another number of the next state.
    copies = map_tree(lambda leaf: _requiring_gradient(leaf.expand(size, *leaf.shape[1:])), state)
    _, after = step(x.expand(size, *x.shape[1:]), copies)
    tracked = [leaf for leaf in leaves(copies) if leaf.requires_grad]
    found = torch.autograd.grad(_flat(after).diagonal().sum(), tracked, allow_unused=True)
    filled = [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(tracked, found, strict=True)]
    return _flat(tuple(filled))


def largest_singular_value(matrix: Tensor) -> float:
    """The spectral norm of a matrix [S, S]."""
    return float(torch.linalg.matrix_norm(matrix.cpu().double(), 2))


def _requiring_gradient(leaf: Tensor) -> Tensor:
    """A leaf that requires a gradient, if its numbers can have one."""
    differentiable = leaf.is_floating_point() or leaf.is_complex()
    return leaf.detach().clone().requires_grad_() if differentiable else leaf


def _flat(tree: Tree) -> Tensor:
    """The real numbers of a state, row by row [B, S]."""
    parts = [torch.view_as_real(leaf) if leaf.is_complex() else leaf for leaf in leaves(tree)]
    return torch.cat([part.flatten(1) for part in parts if part.is_floating_point()], 1)


def _size(gradients: Sequence[Tensor | None]) -> Tensor:
    """The norm of all gradients together; absent ones count as zero."""
    norms = [torch.linalg.vector_norm(each.detach().flatten()).cpu().double() for each in gradients if each is not None]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros((), dtype=torch.float64)


def _by_layer(last: Tensor, by_state: Sequence[Sequence[Tensor | None]], layers: int) -> Tensor | None:
    """The norms [1 + T, L] of each layer's part; the last output is part of the top layer."""
    if not all(each is None or (each.dim() > 2 and each.shape[1] == layers) for row in by_state for each in row):
        return None
    rows = [torch.stack([*[last.new_zeros(())] * (layers - 1), last])]
    for grads in by_state:
        parts = [[None if each is None else each[:, layer] for each in grads] for layer in range(layers)]
        rows.append(torch.stack(list(map(_size, parts))))
    return torch.stack(rows)

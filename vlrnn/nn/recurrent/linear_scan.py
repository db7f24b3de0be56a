"""The parallel scan of h_t = a_t h_{t-1} + b_t over all steps."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_LARGE = 8192
"""From this many numbers per step on, a CPU is busy with one step at a time, and parallel parts only take memory."""


def linear_scan(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    """h_t = a_t h_{t-1} + b_t, element by element (Martin and Cundy 2018).

    Time is split into about sqrt(T) parts, which run in parallel from zero; then the initial state of each part times
    the product of a is added. Without logarithms and divisions any a is valid, also zero, negative or complex. The
    gradient is the same recurrence backwards in time.

    Args:
        a: [B, T, D], T at least 1.
        b: [B, T, D].
        first: [B, D], h before the first step.

    Returns:
        h after every step [B, T, D].
    """
    if a.shape[1] == 1:
        return a * first[:, None] + b
    return _LinearScan.apply(a, b, first)


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, first: Tensor) -> Tensor:
        h = _run(a, b, first)
        ctx.save_for_backward(a, h, first)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, first = ctx.saved_tensors
        # g_t = grad_t + conj(a_{t+1}) g_{t+1}, from the last step to the first.
        after = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], 1).conj()
        g = _run(after.flip(1), grad.flip(1), torch.zeros_like(first)).flip(1)
        before = torch.cat([first[:, None], h[:, :-1]], 1)
        return g * before.conj(), g, g[:, 0] * a[:, 0].conj()


def _run(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    batch_size, time, width = a.shape
    if a.device.type == "cpu" and batch_size * width >= _LARGE:
        return _one_by_one(a, b, first)
    size = math.isqrt(time - 1) + 1  # steps of a part; the last one is padded with zeros
    missing = -time % size
    if missing:
        a, b = (torch.cat([each, each.new_zeros(batch_size, missing, width)], 1) for each in (a, b))
    a, b = (each.unflatten(1, (-1, size)) for each in (a, b))  # [B, P, S, D]
    h, through = torch.empty_like(b), torch.empty_like(a)  # the result of a part from zero, and the product of the a
    h[:, :, 0], through[:, :, 0] = b[:, :, 0], a[:, :, 0]
    for step in range(1, size):
        torch.addcmul(b[:, :, step], a[:, :, step], h[:, :, step - 1], out=h[:, :, step])
        torch.mul(a[:, :, step], through[:, :, step - 1], out=through[:, :, step])
    begins = torch.empty_like(h[:, :, 0])  # the initial state of each part
    for part in range(begins.shape[1]):
        begins[:, part] = first
        first = torch.addcmul(h[:, part, -1], through[:, part, -1], first)
    return h.addcmul_(through, begins[:, :, None]).flatten(1, 2)[:, :time]


def _one_by_one(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    """The same recurrence, step by step."""
    h = torch.empty_like(b)
    for step in range(a.shape[1]):
        first = torch.addcmul(b[:, step], a[:, step], first, out=h[:, step])
    return h


def scan_within(a: Tensor, b: Tensor, first: Tensor, mask: Tensor | None) -> Tensor:
    """`linear_scan` [B, T, D] that leaves the state unchanged where `mask` [B, T] is false."""
    if mask is not None:
        a, b = a.where(mask[..., None], 1.0), b.where(mask[..., None], 0.0)
    return linear_scan(a, b, first)


def last(ys: Tensor, before: Tensor, mask: Tensor | None) -> Tensor:
    """The last output [B, D]: of outputs [B, T, D] that of the last step within the mask; without one, `before`."""
    if mask is None:
        return ys[:, -1]
    lengths = mask.sum(1)
    rows = torch.arange(len(ys), device=ys.device)
    return torch.where((lengths > 0)[:, None], ys[rows, (lengths - 1).clamp(min=0)], before)

"""Attention: a weighted mean of the regions that are there, whatever the formula of the weights."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vlrnn.errors import UserError
from vlrnn.nn.attention import Attention, DotAttention, RegionProjection, SoftAttention
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.recurrent.rnn import GRU, LSTM

B, K, N, D, Q, A = 3, 2, 5, 7, 6, 4
EVERY = pytest.mark.parametrize("make", [SoftAttention, DotAttention])


@EVERY
def test_pooled_features_are_a_mean_of_the_regions_within_the_mask(make: type[Attention]) -> None:
    attention = make(A).build(Q, D)
    regions, query, mask = torch.randn(B, N, D), torch.randn(B, K, Q), torch.ones(B, N, dtype=torch.bool)
    mask[1, 2:] = False
    pooled, weights = attention(query, attention.prepare(regions), regions, mask)
    assert weights.shape == (B, K, N)
    assert torch.allclose(weights.sum(-1), torch.ones(B, K))
    assert (weights[1, :, 2:] == 0).all()
    assert (weights[0] > 0).all()
    assert torch.allclose(pooled, torch.einsum("bkn,bnd->bkd", weights, regions), atol=1e-6)


@EVERY
def test_queries_and_regions_matter_and_their_order_does_not(make: type[Attention]) -> None:
    attention = make(A).build(Q, D)
    regions, query, mask = torch.randn(1, N, D), torch.randn(1, K, Q), torch.ones(1, N, dtype=torch.bool)
    pooled, weights = attention(query, attention.prepare(regions), regions, mask)
    assert not torch.allclose(weights[0, 0], weights[0, 1], atol=1e-4)
    order = torch.randperm(N)
    other, turned = attention(query, attention.prepare(regions[:, order]), regions[:, order], mask)
    assert torch.allclose(turned, weights[..., order], atol=1e-6)
    assert torch.allclose(other, pooled, atol=1e-6)


def test_dot_attention_is_the_paper() -> None:
    """Vaswani et al. (2017), equation 1, slowly."""
    attention = DotAttention(A).build(Q, D)
    regions, query = torch.randn(1, N, D), torch.randn(1, 1, Q)
    _, weights = attention(query, attention.prepare(regions), regions, torch.ones(1, N, dtype=torch.bool))
    projected = attention.from_query.weight @ query[0, 0] + attention.from_query.bias
    scores = [(attention.from_region.weight @ region) @ projected / A**0.5 for region in regions[0]]
    assert torch.allclose(weights[0, 0], torch.stack(scores).softmax(0), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_looking_is_learning(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """The formula that is quicker, where nothing is learnt, is the same; over all images at once, and few at a time."""
    attention = SoftAttention(16).build(8, 12).to(dtype)
    regions, query = torch.randn(5, 7, 12, dtype=dtype), torch.randn(5, 3, 8, dtype=dtype)
    mask = torch.ones(5, 7, dtype=torch.bool)
    learning = attention(query, attention.prepare(regions), regions, mask)
    for at_once in (10**6, 2 * 3 * 7 * 16, 1):
        monkeypatch.setattr("vlrnn.nn.attention._HIDDEN", at_once)
        with torch.no_grad():
            looking = attention(query, attention.prepare(regions), regions, mask)
        torch.testing.assert_close(
            looking,
            learning,
            atol=None if dtype != torch.bfloat16 else 0.05,
            rtol=None if dtype != torch.bfloat16 else 0.05,
        )


class Casts(TorchDispatchMode):
    """Notes the shapes that are cast to another type."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._to_copy.default and found.dtype != args[0].dtype:
            self.shapes.append(tuple(found.shape))
        return found


def test_regions_are_cast_once_and_not_at_every_word(subtests: pytest.Subtests) -> None:
    for make, region_width, learns in product([SoftAttention, DotAttention], [None, D + 1], [True, False]):
        with subtests.test(make=make, region_width=region_width, learns=learns):
            decoder = ShowAttendTell(GRU(Q), make(A), embedding_dim=4, dropout=0.0, region_dim=region_width).build(9, D)
            regions = torch.randn(B, N, D)
            context = Context(regions, torch.ones(B, N, dtype=torch.bool), regions.mean(1))
            tokens = torch.randint(4, 9, (B, N + 1))
            with torch.set_grad_enabled(learns), torch.autocast("cpu", torch.bfloat16):
                memory = decoder.prepare(context)
                assert memory.regions.dtype == memory.keys.dtype == torch.bfloat16
                with Casts() as casts:
                    decoder(tokens, memory, torch.arange(B))
            assert casts.shapes  # of weights, words and states
            assert not [shape for shape in casts.shapes if shape[-2:] == memory.regions.shape[-2:]]


# The projection: what is in them and where they lie.

R = 6
BOXES = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0]]])


def context(regions: torch.Tensor, boxes: torch.Tensor | None = BOXES) -> Context:
    return Context(regions, torch.ones(regions.shape[:2], dtype=torch.bool), regions.mean(1), boxes)


def test_the_formula() -> None:
    made = RegionProjection(D, R, position_frequencies=2)
    regions = torch.randn(1, 3, D) * 3 + 1
    mapped = made(context(regions))
    for n in range(len(BOXES[0])):
        x0, y0, x1, y1 = BOXES[0, n].tolist()
        x, y = x0 + x1 - 1, y0 + y1 - 1
        angles = [math.pi / 2 * k * each for each in (x, y) for k in (1, 2)]
        place = torch.tensor([x, y, *map(math.sin, angles), *map(math.cos, angles)])
        evened = (regions[0, n] - regions[0, n].mean()) / (regions[0, n].var(unbiased=False) + 1e-5).sqrt()
        linear = made.what[1]
        expected = torch.cat([torch.relu(linear.weight @ evened + linear.bias), 2 * place])
        assert torch.allclose(mapped[0, n], expected, atol=1e-5)
    assert made.output_dim == mapped.shape[-1] == R + 10


def test_the_scale_of_the_encoder_does_not_matter() -> None:
    made, regions = RegionProjection(D, R), torch.randn(1, 3, D)
    assert torch.allclose(made(context(regions)), made(context(1000 * regions)), atol=1e-3)


def test_positions_of_regions_matter_when_requested() -> None:
    same = torch.randn(1, 1, D).expand(1, 3, D)
    torch.testing.assert_close(*RegionProjection(D, R)(context(same, None))[0, :2])
    placed = RegionProjection(D, R, position_frequencies=1)
    assert not torch.allclose(*placed(context(same))[0, :2], atol=1e-3)
    with pytest.raises(UserError, match="regions have no boxes"):
        placed(context(same, None))


def test_a_place_needs_a_map() -> None:
    with pytest.raises(UserError, match="position_frequencies need a region_dim"):
        ShowAttendTell(LSTM(4), DotAttention(4), position_frequencies=2)

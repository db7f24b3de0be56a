"""The map of regions: what is in them and where they lie."""

import math

import pytest
import torch

from vlrnn.errors import UserError
from vlrnn.nn.attention import DotAttention, RegionProjection
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.recurrent.rnn import LSTM

N, D, R = 3, 5, 6
BOXES = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0]]])


def context(regions: torch.Tensor, boxes: torch.Tensor | None = BOXES) -> Context:
    return Context(regions, torch.ones(regions.shape[:2], dtype=torch.bool), regions.mean(1), boxes)


def test_the_formula() -> None:
    made = RegionProjection(D, R, position_frequencies=2)
    regions = torch.randn(1, N, D) * 3 + 1
    mapped = made(context(regions))
    for n in range(N):
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
    made, regions = RegionProjection(D, R), torch.randn(1, N, D)
    assert torch.allclose(made(context(regions)), made(context(1000 * regions)), atol=1e-3)


def test_where_a_region_lies_matters_when_asked_for() -> None:
    same = torch.randn(1, 1, D).expand(1, N, D)
    torch.testing.assert_close(*RegionProjection(D, R)(context(same, None))[0, :2])
    placed = RegionProjection(D, R, position_frequencies=1)
    assert not torch.allclose(*placed(context(same))[0, :2], atol=1e-3)
    with pytest.raises(UserError, match="regions have no boxes"):
        placed(context(same, None))


def test_a_place_needs_a_map() -> None:
    with pytest.raises(UserError, match="position_frequencies need a region_dim"):
        ShowAttendTell(LSTM(4), DotAttention(4), position_frequencies=2)

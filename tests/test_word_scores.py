"""The last layer of decoders is `nn.Linear`, however few rows there are."""

import pytest
import torch
import torch.nn.functional as F

from vlrnn.nn.decoders.base import WordScores


@pytest.mark.parametrize("shape", [(), (0,), (1,), (8,), (9,), (2, 3), (2, 0, 3), (4, 5, 2)])
@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_is_linear(shape: tuple[int, ...], learns: bool, dtype: torch.dtype) -> None:
    layer = WordScores(6, 11, dtype=dtype)
    vectors = torch.randn(*shape, 6, dtype=dtype, requires_grad=learns)
    with torch.set_grad_enabled(learns):
        scores = layer(vectors)
    assert scores.shape == (*shape, 11)
    torch.testing.assert_close(scores, F.linear(vectors, layer.weight, layer.bias))
    assert scores.requires_grad == learns

"""The last layer of decoders is `nn.Linear`, however few rows there are."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from vlrnn.nn.decoders.base import WordScores


def test_it_is_linear(subtests: pytest.Subtests) -> None:
    for shape, learns, dtype in product(
        [(), (0,), (1,), (8,), (9,), (2, 3), (2, 0, 3), (4, 5, 2)],
        [False, True],
        [torch.float32, torch.float64, torch.bfloat16],
    ):
        with subtests.test(shape=shape, learns=learns, dtype=dtype):
            layer = WordScores(6, 11, dtype=dtype)
            vectors = torch.randn(*shape, 6, dtype=dtype, requires_grad=learns)
            with torch.set_grad_enabled(learns):
                scores = layer(vectors)
            assert scores.shape == (*shape, 11)
            torch.testing.assert_close(scores, F.linear(vectors, layer.weight, layer.bias))
            assert scores.requires_grad == learns

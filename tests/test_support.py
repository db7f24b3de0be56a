"""How much a picture speaks for what a caption of it names."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlrnn.data.images import open_image
from vlrnn.data.records import open_split
from vlrnn.inference.predictor import Predictor
from vlrnn.probes.model.attribution import Support, support
from vlrnn.probes.object_mentions import PhraseTable
from vlrnn.report.attention_figure import shaded

FIND = PhraseTable({"square": "square", "white square": "square", "top": "top"}).find


def test_the_probabilities_are_those_of_the_search(checkpoints: Any, dataset: Path) -> None:
    """A caption that is said again has the probabilities that it had when it was found."""
    predictor = Predictor.load(checkpoints.file, "cpu")
    for example in open_split(dataset, "test"):
        said = predictor.caption(dataset / example.image)
        again = predictor.score_caption(dataset / example.image, said.tokens)
        np.testing.assert_allclose(again.log_probs[: len(said.log_probs)], said.log_probs, atol=1e-4)
        assert again.attention is not None
        np.testing.assert_allclose(again.attention.sum(-1), 1, atol=1e-5)
        assert again.gates is not None
        assert again.gates.shape == again.log_probs.shape


def test_the_picture_speaks_for_what_it_shows(checkpoints: Any, dataset: Path) -> None:
    predictor = Predictor.load(checkpoints.file, "cpu")
    (example, *_) = open_split(dataset, "test")
    words = ["a", "white", "square", "on", "the", "top"]
    image = dataset / example.image
    found = support(predictor, image, words, FIND)
    assert [each.object for each in found] == ["square", "top"]
    log_probs = predictor.score_caption(image, words).log_probs
    assert found[0].image == pytest.approx(math.exp(log_probs[1] + log_probs[2]))
    grey = Image.new("RGB", (64, 64), (128, 128, 128))
    for each in support(predictor, grey, words, FIND):
        assert each.image == pytest.approx(each.blank)
        assert each.doubtful  # it is what the language says
    assert Support("x", 0.9, 0.1).doubtful is False
    assert Support("x", 0.4, 0.1).doubtful


def test_a_model_without_attention_has_none(checkpoints: Any, dataset: Path) -> None:
    (example, *_) = open_split(dataset, "test")
    again = Predictor.load(checkpoints.plain, "cpu").score_caption(dataset / example.image, ["a", "square"])
    assert again.attention is None
    assert again.gates is None
    assert again.log_probs.shape == (3,)


def test_a_veil_is_thin_where_the_weight_is(dataset: Path) -> None:
    (example, *_) = open_split(dataset, "test")
    image = open_image(dataset / example.image).resize((40, 40))
    seen = np.asarray(shaded(image, np.array([0.0, 0, 0, 1])), int)
    plain = np.asarray(image, int)
    assert np.abs(seen[-1, -1] - plain[-1, -1]).max() <= 1
    assert (seen[0, 0] <= plain[0, 0] * 0.3 + 1).all()

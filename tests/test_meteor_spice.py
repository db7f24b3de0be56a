"""METEOR is the official one where Java is there; where something is not, there is a reason and no crash."""

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from vlrnn.data.formats.captions import read_predictions, read_references
from vlrnn.metrics import CaptionScorer
from vlrnn.metrics import meteor_spice as java
from vlrnn.metrics.meteor_spice import NotComputedError, meteor, spice
from vlrnn.metrics.statistics import Resampler

DATA = os.environ.get("VLRNN_DATA")
needs_java = pytest.mark.skipif(
    find_spec("pycocoevalcap") is None or shutil.which("java") is None,
    reason="pycocoevalcap or Java is not there",
)
PREDICTIONS = [["a", "man", "rides"], ["two", "dogs", "play"], []]
REFERENCES = [[["a", "man", "rides"]], [["the", "dog", "is", "running"], ["dogs"]], [["a", "cat"]]]


@pytest.mark.slow
@needs_java
def test_meteor_prefers_what_is_right() -> None:
    score = meteor(PREDICTIONS, REFERENCES, Resampler(3, 20))
    assert score.per_image[0] > 0.9
    assert score.per_image[0] > score.per_image[1] > score.per_image[2] == 0
    assert score.samples.shape == (20,)
    assert score.samples.min() <= score.value <= score.samples.max()


@pytest.mark.slow
@needs_java
def test_meteor_of_a_resampled_corpus_is_that_of_its_images() -> None:
    drawn = np.random.default_rng(0).integers(0, 3, (1, 3))[0]
    sample = meteor(PREDICTIONS, REFERENCES, Resampler(3, 1, seed=0)).samples[0]
    anew = meteor([PREDICTIONS[i] for i in drawn], [REFERENCES[i] for i in drawn], Resampler(3, 1)).value
    assert sample == pytest.approx(anew)


@pytest.mark.slow
@needs_java
@pytest.mark.skipif(not DATA, reason="VLRNN_DATA, the data folder, is not set")
def test_meteor_is_the_official_one() -> None:
    folder = Path(str(DATA)) / "metrics"
    expected = json.loads((folder / "expected_scores.json").read_text())["captioning"]
    scorer = CaptionScorer(read_references(folder / expected["references"]))
    scores = scorer.score({each.image_id: each.text for each in read_predictions(folder / expected["predictions"])})
    score = meteor(scores.tokens, scorer.references, Resampler(len(scores), 10))
    assert score.value == pytest.approx(expected["expected"]["METEOR"], abs=1e-9)


def test_without_java_a_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java.shutil, "which", lambda _: None)
    for score in (meteor, spice):
        with pytest.raises(NotComputedError, match="needs"):
            score(PREDICTIONS, REFERENCES, Resampler(3))


def test_without_the_extra_a_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "find_spec", lambda _: None)
    with pytest.raises(NotComputedError, match=r"pip install vlrnn\[java\]"):
        meteor(PREDICTIONS, REFERENCES, Resampler(3))


@needs_java
def test_a_java_program_that_fails_gives_a_reason() -> None:
    with pytest.raises(NotComputedError, match="failed"), java._java(["-jar", "no-such.jar"]) as request:
        request(["x"] * 100_000, 1)

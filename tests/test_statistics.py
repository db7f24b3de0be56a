"""Intervals and p values of the bootstrap."""

import numpy as np
import pytest

from vlrnn.errors import UserError
from vlrnn.metrics import CaptionScorer, score_captions
from vlrnn.metrics import statistics as bootstrap
from vlrnn.metrics.captions import compare
from vlrnn.metrics.statistics import Ratio, Resampler, distance_interval, interval, p_value, ratios

WORDS = ["a", "man", "dog", "rides", "the", "red", "on", "big", "board", "surf"]


def random_captions(images: int, seed: int) -> dict[int | str, str]:
    random = np.random.default_rng(seed)
    return {image: " ".join(random.choice(WORDS, random.integers(3, 9))) for image in range(images)}


def references(images: int) -> dict[int | str, list[str]]:
    return {image: [text] for image, text in random_captions(images, seed=1).items()}


def test_sums_are_those_of_sets_of_the_same_size() -> None:
    resampler = Resampler(items=7, resamples=50, seed=3)
    assert resampler.sums(np.ones(7)).tolist() == [7.0] * 50
    values = np.arange(14.0).reshape(7, 2)
    assert np.allclose(resampler.sums(values)[:, 1] - resampler.sums(values)[:, 0], 7)


def test_the_same_seed_draws_the_same_sets_however_they_are_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(30)
    whole = Resampler(30, 100, seed=5).sums(values)
    monkeypatch.setattr(bootstrap, "_CELLS", 100)
    assert np.allclose(Resampler(30, 100, seed=5).sums(values), whole)
    assert not np.allclose(Resampler(30, 100, seed=6).sums(values), whole)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    found = interval(values.mean(), Resampler(2000, 4000).sums(values) / 2000, 2000)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * values.std() / np.sqrt(2000), rel=0.06)


def test_resampled_scores_are_the_scores_of_the_resampled_images() -> None:
    """BLEU from summed statistics is BLEU of the drawn corpus, counted anew."""
    truth, predictions = references(6), random_captions(6, seed=2)
    scores = score_captions(predictions, truth)
    drawn = np.random.default_rng(0).integers(0, 6, (1, 6))[0]
    anew = score_captions({n: predictions[i] for n, i in enumerate(drawn)}, {n: truth[i] for n, i in enumerate(drawn)})
    found = scores.resampled(Resampler(6, 1, seed=0))
    for name in ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L"):
        assert found[name][0] == pytest.approx(anew.corpus[name])


def test_intervals_hold_their_values() -> None:
    scores = score_captions(random_captions(200, seed=2), references(200)).with_intervals()
    for score in scores.values():
        assert score["low"] < score["value"] < score["high"]
        assert score["n"] == 200


def test_p_values() -> None:
    samples = np.random.default_rng(0).normal(0.1, 1.0, 1000)
    assert p_value(0.1, samples) > 0.5
    assert p_value(10.0, samples) == pytest.approx(1 / 1001)


def test_comparing_a_system_with_itself_and_with_a_better_one() -> None:
    truth = references(200)
    scorer = CaptionScorer(truth)
    bad = scorer.score(random_captions(200, seed=2))
    good = scorer.score({image: texts[0] for image, texts in truth.items()})
    assert all(each["value"] == 0 and each["p"] == 1 for each in compare(bad, bad).values())
    for name, found in compare(good, bad).items():
        assert found["value"] == pytest.approx(good.corpus[name] - bad.corpus[name])
        assert 0 < found["low"] < found["value"] < found["high"]
        assert found["p"] < 0.01


def test_a_comparison_wants_the_same_images() -> None:
    first = score_captions(random_captions(3, seed=2), references(3))
    second = score_captions(random_captions(4, seed=2), references(4))
    with pytest.raises(UserError, match="same images"):
        compare(first, second)


def test_ratios_are_those_of_the_resampled_items() -> None:
    above, below = np.array([1.0, 0, 2, 0, 3]), np.array([2.0, 1, 2, 0, 4])
    found = ratios({"rate": Ratio(above, below), "few": Ratio(above, below, n=2)}, Resampler(5, 200, seed=1), 100)
    assert found["rate"]["value"] == pytest.approx(100 * 6 / 9)
    assert found["rate"]["low"] < found["rate"]["value"] < found["rate"]["high"] <= 100
    assert (found["rate"]["n"], found["few"]["n"]) == (9, 2)
    assert found["rate"]["low"] == found["few"]["low"]


def test_a_ratio_of_nothing_is_absent_and_sets_without_are_passed_over() -> None:
    nothing, one = np.zeros(3), np.array([1, 0, 0])
    found = ratios({"none": Ratio(nothing, nothing), "one": Ratio(one, one)}, Resampler(3, 100))
    assert found == {"one": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1}}
    assert ratios({"none": Ratio(nothing, nothing)}, Resampler(3, 100)) == {}


def test_what_no_set_has_is_its_own_interval() -> None:
    """One of forty items says all, and the single set that is drawn lacks it."""
    rare = np.arange(40) == 0
    seeds = (seed for seed in range(99) if Resampler(40, 1, seed).sums(rare).sum() == 0)
    found = ratios({"rare": Ratio(rare, rare)}, Resampler(40, 1, next(seeds)))["rare"]
    assert found == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1}
    assert distance_interval(0.25, np.array([]), 3) == {"value": 0.25, "low": 0.25, "high": 0.25, "n": 3}

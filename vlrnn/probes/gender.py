"""Gender in captions: error rates, and their difference between images of women and of men.

Source: Hendricks, Burns, Saenko, Darrell, Rohrbach, Women also Snowboard, ECCV 2018, sections 4.2 and 5.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlrnn.data.formats.base import References
from vlrnn.data.formats.captions import read_predictions, read_references
from vlrnn.data.matching import match
from vlrnn.data.records import Id
from vlrnn.metrics.statistics import Floats, Resampler, interval
from vlrnn.probes.finding import TELLING, Finding, path_settings
from vlrnn.probes.gender_words import GENDERS, Gender, GenderWords, read_people

OUTCOMES = ("correct", "wrong", "neutral")
GROUPS = {"woman": "women", "man": "men"}

Scores = dict[str, Any]

_NEUTRAL = (
    "all {} captions are neutral: error and divergence are 0 because no gender is named, not because captions are right"
)


def named_genders(captions: Sequence[str], words: GenderWords) -> Floats:
    """The fractions [3] of captions that name a woman, a man, neither (or both)."""
    named = [words.named(caption) for caption in captions]
    return np.array([named.count(each) for each in (*GENDERS, None)]) / len(named)


def tally(named: Floats, women: NDArray[np.bool_]) -> Floats:
    """The fractions of `OUTCOMES` for each image [I, 2, 3], in the row of its gender, women first; from `named_genders`
    [I, 3] and a mask of images of women [I]."""
    outcomes = np.stack([named, named[:, [1, 0, 2]]], 1)  # in the second row, naming a man is correct
    return outcomes * np.stack([women, ~women], 1)[:, :, None]


def measure(tallies: Floats) -> dict[str, Floats]:
    """All scores [...] of summed tallies [..., 2, 3], those of a group as `women: correct`; not finite where a
    denominator is zero."""
    groups, outcomes = tallies.sum(-1), tallies.sum(-2)
    correct, wrong, neutral = np.moveaxis(outcomes, -1, 0)
    named_woman = tallies[..., 0, 0] + tallies[..., 1, 1]
    named_man = tallies[..., 0, 1] + tallies[..., 1, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = 100 * tallies / groups[..., None]
        found = {
            "error": 100 * wrong / groups.sum(-1),
            "error_where_named": 100 * wrong / (correct + wrong),
            "neutral": 100 * neutral / groups.sum(-1),
            "ratio_difference": np.abs(groups[..., 0] / groups[..., 1] - named_woman / named_man),
            "divergence": _divergence(shares[..., 0, :] / 100, shares[..., 1, :] / 100),
        }
    for row, group in enumerate(GROUPS.values()):
        found |= {f"{group}: {outcome}": shares[..., row, each] for each, outcome in enumerate(OUTCOMES)}
    return found


def _divergence(first: Floats, second: Floats) -> Floats:
    """The Jensen-Shannon divergence of two distributions [..., K], in bits, 0..1."""
    middle = (first + second) / 2
    terms = [np.where(each == 0, 0.0, each * np.log2(each / middle)) for each in (first, second)]
    return np.sum(terms[0] + terms[1], -1) / 2


def score(named: Floats, women: NDArray[np.bool_], resamples: int = 1000, seed: int = 0) -> Scores:
    """The scores of captions, with intervals.

    Args:
        named: [I, 3], see `named_genders`.
        women: [I].
        resamples, seed: of the bootstrap over images.

    Returns:
        `error`: percent of the images whose caption names the wrong gender; `error_where_named`: percent of those
        whose caption names one; `neutral`: percent; `ratio_difference`: |images of women / images of men - captions
        with woman / captions with man|; `divergence` of the outcomes of women and men, in bits; `women`, `men`: percent
        of theirs `correct`, `wrong`, `neutral`. Scores with a zero denominator are absent.
    """
    tallies = tally(named, women)
    value = measure(tallies.sum(0))
    samples = measure(Resampler(len(named), resamples, seed).sums(tallies))
    counts = {"women": int(women.sum()), "men": int((~women).sum()), "error_where_named": round(named[:, :2].sum())}
    scores: Scores = {}
    for name, each in value.items():
        group, _, outcome = name.partition(": ")
        if np.isfinite(each):
            drawn = np.append(samples[name], each)  # resampled sets may have a zero denominator, the data have not
            place = scores.setdefault(group, {}) if outcome else scores
            place[outcome or name] = interval(float(each), drawn[np.isfinite(drawn)], counts.get(group, len(named)))
    return scores


def probe_gender(
    predictions: str | Path,
    women: str | Path,
    men: str | Path,
    *,
    references: str | Path | None = None,
    words_women: str | Path | None = None,
    words_men: str | Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """Do captions name the right gender, and are error rates equal for women and men? See `score`.

    Args:
        predictions: predictions.jsonl, or COCO results.
        women: the ids of images of women, one on a line.
        men: the same of men.
        references: human captions, for a baseline.
        words_women: words that name a woman, one on a line; by default the published list.
        words_men: the same of a man.
        resamples, seed: of the bootstrap over images.

    Returns:
        besides the scores, baselines: `same words` names each gender as often as the predictions do, independently of
        the image; and `always man`. The cases are wrong captions, those first whose references agree on the gender.

    Raises:
        UserError: a file is invalid, an id is in both lists, or no id has a prediction.
    """
    words = GenderWords.load(words_women, words_men)
    listed, notes = read_people(women, men)
    written = References({}) if references is None else read_references(references).as_lists()
    matched = match(read_predictions(predictions), listed, "skip", str(predictions), files=written.files)
    texts, people = matched.texts, matched.references
    human = {id: written[id] for id in people if id in written}
    if references is not None:
        notes.append(f"{references}: has captions of {len(human)} of the {len(people)} images")
    named = np.array([named_genders([text], words) for text in texts.values()])
    shows_woman = np.array([gender == "woman" for gender in people.values()])
    shares = {"same words": named.mean(0), "always man": (0, 1, 0)}
    baselines = {row: score(np.broadcast_to(p, named.shape), shows_woman, resamples, seed) for row, p in shares.items()}
    if human:
        of_human = np.array([named_genders(captions, words) for captions in human.values()])
        of_women = np.array([people[id] == "woman" for id in human])
        baselines = {"references": score(of_human, of_women, resamples, seed), **baselines}
    if not named[:, :2].any():
        notes.append(_NEUTRAL.format(len(named)))
    used: dict[str, Any] = {"words": {"women": sorted(words.women), "men": sorted(words.men)}, "n": len(people)}
    used |= {"resamples": resamples, "seed": seed}
    counted = zip(GROUPS.values(), tally(named, shows_woman).sum(0).astype(int).tolist(), strict=True)
    return Finding(
        score(named, shows_woman, resamples, seed),
        settings=path_settings(predictions=predictions, references=references) | used,
        baselines=baselines,
        cases=_cases(texts, people, human, words),
        details={name: dict(zip(OUTCOMES, row, strict=True)) for name, row in counted},
        not_computed=_not_computed(named, shows_woman),
        notes=[*matched.notes, *notes],
    )


def _cases(
    texts: Mapping[Id, str], people: Mapping[Id, Gender], human: Mapping[Id, list[str]], words: GenderWords
) -> list[dict[str, Any]]:
    """Captions that name the wrong gender; first those where most references name the right one."""

    def agreed(id: Id) -> float:
        captions = human.get(id, [])
        return sum(words.named(caption) == people[id] for caption in captions) / max(len(captions), 1)

    wrong = [id for id, text in texts.items() if words.named(text) not in (people[id], None)]
    return [
        {"id": id, "shows": f"a {people[id]}", "caption": texts[id]}
        for id in sorted(wrong, key=agreed)[: -TELLING - 1 : -1]
    ]


def _not_computed(named: Floats, shows_woman: NDArray[np.bool_]) -> dict[str, str]:
    """Score with a zero denominator -> reason."""
    present = dict(zip(GENDERS, (shows_woman.any(), not shows_woman.all()), strict=True))
    absent = [gender for gender in GENDERS if not present[gender]]
    reasons = {GROUPS[gender]: f"no image of a {gender} has a prediction" for gender in absent}
    if absent:
        reasons["divergence"] = f"it compares women and men, and no image of a {absent[0]} has a prediction"
    if not present["man"]:
        reasons["ratio_difference"] = "no image of a man has a prediction to divide by"
    elif not named[:, 1].any():
        reasons["ratio_difference"] = "no caption names a man to divide by"
    if not named[:, :2].any():
        reasons["error_where_named"] = "no caption names a gender"
    return reasons

"""How well an attacker predicts whether an image is of a woman or a man from captions whose gender words are masked:
does a model's caption leak more than a human one?

Source: Hirota, Nakashima, Garcia, Quantifying societal bias amplification in image captioning, CVPR 2022, section 4.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlrnn.errors import UserError
from vlrnn.files import read_json, write_json
from vlrnn.metrics.statistics import Floats, Resampler, interval
from vlrnn.probes.finding import TELLING, Finding, path_settings
from vlrnn.probes.gender_words import GENDERS, GenderWords
from vlrnn.progress import track
from vlrnn.studies.attackers import ATTACKERS, MASK, Captions, Masked, attack, read_masked
from vlrnn.studies.jobs import keep_plan

TEST, VALIDATION = 0.25, 0.15
"""The shares of the images that an attacker is tested on, and that stop its training."""
ROUNDS = 5
"""Attacks on human captions, each with another caption of an image, so that an attacker trains on as many captions as
of the model's."""
CHANCE = {"LIC": 0.0, "accuracy_difference": 0.0, "LIC_M": 25.0, "LIC_D": 25.0, "accuracy_M": 50.0, "accuracy_D": 50.0}
"""In percent, of an attacker that gives either gender a half; half of the images are of each."""


def split(images: Sequence[Masked], seed: int) -> dict[str, list[int]]:
    """Split the images, as many of women as of men, drawn at random: the places of those of `train`, `validation` and
    `test`, half of them of women in each."""
    random = np.random.default_rng(seed)
    genders = np.array([image.gender for image in images])
    groups = [random.permutation(np.flatnonzero(genders == gender)) for gender in GENDERS]
    fewer = min(map(len, groups))
    first, second = round(TEST * fewer), round(TEST * fewer) + round(VALIDATION * fewer)
    parts = {"train": slice(second, fewer), "validation": slice(first, second), "test": slice(first)}
    return {name: np.concatenate([group[part] for group in groups]).tolist() for name, part in parts.items()}


def attack_once(images: Sequence[Masked], seed: int) -> dict[str, Any]:
    """Train all attackers on one split.

    Returns:
        `images`, the ids of those tested, and of each attacker the probability of the true gender of each: from the
        model's caption [M], key `said`, and from human captions, `human` [rounds, M].
    """
    parts = split(images, seed)
    rounds = min(ROUNDS, max(len(image.human) for image in images))
    women = [image.gender == "woman" for image in images]

    def probabilities(name: str, tokens: Sequence[Sequence[str]]) -> list[float]:
        train, validation, test = (
            Captions([tokens[place] for place in places], np.array([women[place] for place in places]))
            for places in parts.values()
        )
        return attack(ATTACKERS[name], train, validation, test, seed=seed).round(6).tolist()

    human = [[image.human[number % len(image.human)] for image in images] for number in range(rounds)]
    return {
        "images": [images[place].id for place in parts["test"]],
        "attackers": {
            name: {
                "said": probabilities(name, [image.caption for image in images]),
                "human": [probabilities(name, captions) for captions in human],
            }
            for name in ATTACKERS
        },
    }


def study_leakage(
    out: str | Path,
    predictions: str | Path,
    references: str | Path,
    *,
    women: str | Path | None = None,
    men: str | Path | None = None,
    words_women: str | Path | None = None,
    words_men: str | Path | None = None,
    seeds: int = 5,
    resamples: int = 1000,
    seed: int = 0,
    overwrite: bool = False,
) -> Finding:
    """How well can the gender of people in an image be predicted from captions whose gender words are masked?
    Attacks by `leakage`.

    Args:
        out: the folder.
        predictions: predictions.jsonl, or COCO results.
        references: human captions of the same images.
        women: the ids of images of women, one on a line; by default by the references.
        men: the same of men.
        words_women: words that name a woman, one on a line; by default the published list.
        words_men: words that name a man.
        seeds: how many times attackers are trained.
        resamples, seed, overwrite: of `leakage`.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {seeds}")
    words = GenderWords.load(words_women, words_men)
    images, notes = read_masked(predictions, references, women=women, men=men, words=words)
    settings = path_settings(predictions=predictions, references=references, women=women, men=men)
    finding = leakage(out, images, seeds=seeds, resamples=resamples, seed=seed, overwrite=overwrite)
    return finding.with_input(settings, notes)


def leakage(
    out: str | Path,
    images: Sequence[Masked],
    *,
    seeds: int = 5,
    resamples: int = 1000,
    seed: int = 0,
    overwrite: bool = False,
) -> Finding:
    """Attack with several seeds. A seed that is in the folder, of the same captions, is not attacked again.

    Args:
        out: the folder; gets `seed-N.json` for each.
        images: see `read_masked`.
        seeds: how many times images are divided, and attackers trained.
        resamples: of the bootstrap over seeds and images.
        seed: the first; also of the bootstrap.
        overwrite: move what is in the folder aside first.

    Returns:
        of each attacker, in percent: `LIC_M` and `LIC_D`, the mean confidence in correct predictions (0 where wrong),
        from the model's captions and from human ones, and `LIC`, the difference; `accuracy_M`, `accuracy_D` and
        `accuracy_difference`, the same without confidence. The cases are the images whose gender the model's captions
        give away with the highest confidence.

    Raises:
        UserError: the folder has results of other captions.
    """
    digest = hashlib.sha256(json.dumps([asdict(image) for image in images]).encode()).hexdigest()
    keep_plan(Path(out), {"captions": digest}, overwrite=overwrite)
    runs = {}
    for each in track(range(seed, seed + seeds), "attacking", unit="seeds"):
        path = Path(out) / f"seed-{each}.json"
        if not path.exists():
            write_json(path, {"captions": digest, **attack_once(images, each)})
        runs[each] = read_json(path)
        if not isinstance(runs[each], dict) or runs[each].get("captions") != digest:
            raise UserError(f"{path}: computed from other captions; remove it")
    scores, spread = {}, {}
    for name in ATTACKERS:
        found = _attack_results(list(runs.values()), images, name)
        scores[name] = found.scores(Resampler(len(images), resamples, seed))
        spread[name] = {measure: values.tolist() for measure, values in found.by_seed().items()}
    return Finding(
        scores,
        settings={"seeds": list(runs), "resamples": resamples, "n": len(images)},
        baselines={"chance": {name: {of: {"value": value} for of, value in CHANCE.items()} for name in ATTACKERS}},
        cases=_cases(list(runs.values()), images),
        details={"by_seed": spread, "words": _gendered_words(images)},
    )


class AttackResults(NamedTuple):
    """Results of S seeds over I images: `hits` of each measure [S, I] where they were `tested` [S, I], else 0."""

    hits: dict[str, Floats]
    tested: Floats

    def by_seed(self) -> dict[str, Floats]:
        """The measures of each seed [S], in percent."""
        return {name: 100 * each.sum(1) / self.tested.sum(1) for name, each in self.hits.items()}

    def scores(self, resampler: Resampler) -> dict[str, Any]:
        """The measures over all seeds, in percent, with intervals over both, images with all their seeds."""
        sums = resampler.sums(np.stack([*self.hits.values(), self.tested], -1).swapaxes(0, 1))  # [R, S, measures + 1]
        seeds = sums.shape[1]
        drawn = np.random.default_rng(resampler.seed).integers(0, seeds, (len(sums), seeds, 1))
        hits = np.take_along_axis(sums, drawn, 1).sum(1)
        samples = hits[hits[:, -1] > 0]
        n = int(self.tested.any(0).sum())
        return {
            name: interval(float(100 * each.sum() / self.tested.sum()), 100 * samples[:, place] / samples[:, -1], n)
            for place, (name, each) in enumerate(self.hits.items())
        }


def _attack_results(runs: Sequence[Mapping[str, Any]], images: Sequence[Masked], attacker: str) -> AttackResults:
    places = {image.id: place for place, image in enumerate(images)}
    tested = np.zeros((len(runs), len(images)))
    hits = {f"{measure}_{of}": np.zeros_like(tested) for measure in ("LIC", "accuracy") for of in "MD"}
    for row, run in enumerate(runs):
        of = [places[id] for id in run["images"]]
        tested[row, of] = 1
        for name, key in (("M", "said"), ("D", "human")):
            p = np.atleast_2d(run["attackers"][attacker][key])
            right = (np.sign(p - 0.5) + 1) / 2  # 0.5 counts as half right
            hits[f"LIC_{name}"][row, of] = (right * p).mean(0)
            hits[f"accuracy_{name}"][row, of] = right.mean(0)
    differences = {"LIC": hits["LIC_M"] - hits["LIC_D"]}
    differences["accuracy_difference"] = hits["accuracy_M"] - hits["accuracy_D"]
    return AttackResults(differences | hits, tested)


def _cases(runs: Sequence[Mapping[str, Any]], images: Sequence[Masked]) -> list[dict[str, Any]]:
    """The images of the highest probability of their gender given the model's caption, mean over seeds and attackers;
    one for each caption."""
    confidence: dict[Any, list[float]] = {}
    for run in runs:
        mean = np.mean([attacker["said"] for attacker in run["attackers"].values()], 0)
        for id, p in zip(run["images"], mean, strict=True):
            confidence.setdefault(id, []).append(float(p))
    by_id = {image.id: image for image in images}
    first: dict[tuple[str, ...], Any] = {}
    for id in sorted(confidence, key=lambda id: -np.mean(confidence[id])):
        first.setdefault(by_id[id].caption, id)
    return [
        {
            "id": id,
            "shows": f"a {by_id[id].gender}",
            "caption": " ".join(by_id[id].caption),
            "guessed": f"{100 * np.mean(confidence[id]):.0f} %",
        }
        for id in list(first.values())[:TELLING]
    ]


def _gendered_words(images: Sequence[Masked], most: int = 20) -> list[dict[str, Any]]:
    """The words whose share of the model's captions differs most between women and men; with their shares of the human
    captions."""

    def shares(captions: list[tuple[str, ...]]) -> dict[str, float]:
        counts = Counter(word for caption in captions for word in set(caption))
        return {word: round(count / len(captions), 4) for word, count in counts.items()}

    found = {}
    for source, of in (("", lambda image: [image.caption]), (", human", lambda image: image.human)):
        for gender in GENDERS:
            captions = [each for image in images if image.gender == gender for each in of(image)]
            found[f"{gender}{source}"] = shares(captions)
    words = sorted({*found["woman"], *found["man"]} - {MASK})
    rows: list[dict[str, Any]] = [
        {"word": word, **{of: each.get(word, 0.0) for of, each in found.items()}} for word in words
    ]
    return sorted(rows, key=lambda row: -abs(row["woman"] - row["man"]))[:most]

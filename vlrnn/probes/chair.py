"""CHAIR: object hallucination in captions.

Source: Rohrbach, Hendricks, Burns, Darrell, Saenko, Object hallucination in image captioning, EMNLP 2018, section 2.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np

from vlrnn.data.formats.base import References
from vlrnn.data.formats.captions import read_predictions, read_references
from vlrnn.data.matching import match
from vlrnn.data.records import Id
from vlrnn.metrics.statistics import Ratio, Resampler, Scores, bootstrap_settings, interval, ratios, spearman
from vlrnn.probes.finding import TELLING, Finding, path_settings
from vlrnn.probes.object_annotations import ObjectSets, read_object_sets
from vlrnn.probes.object_mentions import Mentions, mentions, unread

SHUFFLES = 5
"""Number of random assignments of captions to images, for the ceiling."""

CORRELATIONS = ("frequency_correlation", "cooccurrence_correlation")

_FEWEST = 5  # least mentions of an object for correlations, and least training images for co-occurrence


@dataclass(frozen=True)
class Mentioned:
    """Objects of a caption: those mentioned, with repetition; the hallucinated ones of these; those in the image; and
    the number of words."""

    objects: Sequence[str]
    made_up: Sequence[str]
    present: frozenset[str]
    words: int


def chair(
    captions: Mapping[Id, Sequence[str]], present: Mapping[Id, frozenset[str]], find: Mentions, resampler: Resampler
) -> tuple[Scores, dict[Id, list[Mentioned]]]:
    """CHAIR of captions.

    Args:
        captions: image id -> its captions, at least one.
        present: image id -> the objects in it.
        find: maps a caption to the objects that it mentions.
        resampler: over this number of images.

    Returns:
        scores `CHAIRs`, the rate of captions with a hallucinated object; `CHAIRi`, that of hallucinated mentions;
        `recall`, that of objects in images that are mentioned, all in percent; and `mean_length` in words; without
        those with a zero denominator. And the objects of each caption.
    """
    found = {id: [_read(caption, present[id], find) for caption in each] for id, each in captions.items()}
    return _measure(found, resampler), found


def _measure(found: Mapping[Id, Sequence[Mentioned]], resampler: Resampler) -> Scores:
    def counts(each: Mentioned) -> tuple[int, ...]:
        right = len(each.present.intersection(each.objects))
        made_up = len(each.made_up)
        return 1, made_up > 0, made_up, len(each.objects), right, len(each.present), each.words

    sums = np.array([np.sum([counts(each) for each in captions], 0) for captions in found.values()], float)
    number, hallucinating, made_up, mentioned, right, present, words = sums.T
    parts = {
        "CHAIRs": Ratio(hallucinating, number),
        "CHAIRi": Ratio(made_up, mentioned),
        "recall": Ratio(right, present),
    }
    return ratios(parts, resampler, scale=100) | ratios({"mean_length": Ratio(words, number)}, resampler)


def _read(caption: str, present: frozenset[str], find: Mentions) -> Mentioned:
    objects = find(caption)
    return Mentioned(objects, [each for each in objects if each not in present], present, len(caption.split()))


def probe_chair(
    predictions: str | Path,
    objects: str | Path,
    *,
    references: str | Path | None = None,
    training: str | Path | None = None,
    synonyms: str | Path | None = None,
    double_words: str | Path | None = None,
    mode: Literal["fixed", "chair-2018"] = "fixed",
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """How many of the objects that captions mention are not in the image (CHAIR)? With the references as floor, and the
    same captions assigned to other images as ceiling, the rate of a language prior.

    Args:
        predictions: predictions.jsonl, or COCO results.
        objects: of each image: {"image id": [names]}, a prepared .jsonl, or COCO's instances with those of references.
        references: human captions; by default those of a prepared .jsonl.
        training: the objects of each training image, for correlations of rates with their frequency.
        synonyms: a line for each object: its name and its synonyms, separated by commas.
        double_words: {"two words": "the object that they name"}.
        mode: of finding objects in captions, see `vlrnn.probes.object_mentions.mentions`.
        resamples, seed: of the bootstrap over images; the seed also of the shuffling.

    Raises:
        UserError: a file is invalid, or no image has a caption.
    """
    given = read_object_sets(objects)
    find = cache(mentions(mode, given.names, synonyms, double_words))  # shuffled captions are read once
    notes = unread(find, given.names, synonyms)
    references = objects if references is None and Path(objects).suffix == ".jsonl" else references
    written = References({}) if references is None else read_references(references).as_lists()
    present = _with_references(given, written, find, notes)
    matched = match(read_predictions(predictions), present, "skip", str(predictions), files=written.files | given.files)
    notes += [note for note in matched.notes if " ids missing" not in note]  # images without a caption are left out
    captions = {id: [each.text] for id, each in matched.predictions.items()}
    resampler = Resampler(len(captions), resamples, seed)
    scores, found = chair(captions, present, find, resampler)
    by_object = _by_object(found)
    trained = [] if training is None else list(read_object_sets(training).of.values())
    scores |= _correlations(by_object, trained, resamples, seed) if trained else {}
    baselines = {"shuffled": _shuffled(captions, present, find, resampler)} if len(captions) > 1 else {}
    if human := {id: written[id] for id in captions if written.get(id)}:
        baselines["references"] = _floor(human, given, find, Resampler(len(human), resamples, seed))
    paths = {"predictions": predictions, "objects": objects, "references": references, "training": training}
    used: dict[str, Any] = {"mode": mode, "unit": "percent", "ids": matched.counts, "captions": len(captions)}
    used |= {"mentions": sum(len(each.objects) for (each,) in found.values()), **bootstrap_settings(resamples, seed)}
    return Finding(
        scores,
        settings=path_settings(**paths, synonyms=synonyms, double_words=double_words) | used,
        baselines=baselines,
        cases=_worst(captions, found),
        details={"objects": by_object},
        not_computed=_not_computed([*scores, *baselines], bool(trained), str(references) if written else ""),
        notes=notes,
    )


def _not_computed(computed: Sequence[str], trained: bool, written: str) -> dict[str, str]:
    """Score or baseline -> reason; `written` is the file of references, if there are any."""
    few = f"fewer than three objects have {_FEWEST} mentions, or they do not differ"
    no_references = "the floor needs human captions (--references)"
    reasons = {
        "CHAIRi": "no caption mentions an object of the table",
        "recall": "no image has an object",
        **dict.fromkeys(CORRELATIONS, few if trained else "needs the objects of training images (--training)"),
        "shuffled": "there is one caption, and no other image to assign it to",
        "references": f"{written} has no caption of these images" if written else no_references,
    }
    return {name: reason for name, reason in reasons.items() if name not in computed}


def _with_references(
    given: ObjectSets, written: Mapping[Id, Sequence[str]], find: Mentions, notes: list[str]
) -> dict[Id, frozenset[str]]:
    """The objects of images, with those mentioned in references added to COCO's instances."""
    bare = sum(not each for each in given.of.values())
    if bare:
        notes.append(f"{bare} of {len(given.of)} images have no object: every mention counts as hallucinated")
    if not given.categories:
        return given.of
    if not written:
        notes.append("instances only, without --references: other objects that people mention count as hallucinated")
    mentioned = {id: {name for caption in each for name in find(caption)} for id, each in written.items()}
    return {id: names | mentioned.get(id, set()) for id, names in given.of.items()}


def _floor(human: Mapping[Id, Sequence[str]], given: ObjectSets, find: Mentions, resampler: Resampler) -> Scores:
    """CHAIR of human captions. Where references add to the objects of their image, each is compared with the others
    only, since none of its own mentions could be a hallucination."""
    found: dict[Id, list[Mentioned]] = {}
    for id, captions in human.items():
        named = [frozenset(find(caption)) if given.categories else frozenset() for caption in captions]
        found[id] = [
            _read(caption, given.of[id].union(*named[:place], *named[place + 1 :]), find)
            for place, caption in enumerate(captions)
        ]
    return _measure(found, resampler)


def _shuffled(
    captions: Mapping[Id, Sequence[str]], present: Mapping[Id, frozenset[str]], find: Mentions, resampler: Resampler
) -> Scores:
    """CHAIR of captions that are assigned to other images, the mean over several random assignments."""
    ids, order = list(captions), list(captions)
    given: dict[Id, list[str]] = {id: [] for id in ids}
    for draw in range(SHUFFLES):
        Random(f"{resampler.seed} {draw}").shuffle(order)
        for one, other in zip(order, [*order[1:], order[0]], strict=True):  # one cycle, without fixed points
            given[one] += captions[other]
    return chair(given, present, find, resampler)[0]


def _by_object(found: Mapping[Id, Sequence[Mentioned]]) -> Scores:
    """Object -> number of mentions and of hallucinations, and their rate in percent; the highest first."""
    captions = [each for captions in found.values() for each in captions]
    mentioned = Counter(name for each in captions for name in each.objects)
    made_up = Counter(name for each in captions for name in each.made_up)
    rows = {
        name: {"mentions": count, "made_up": made_up[name], "rate": 100 * made_up[name] / count}
        for name, count in mentioned.items()
    }
    return dict(sorted(rows.items(), key=lambda row: (-row[1]["rate"], -row[1]["mentions"], row[0])))


def _correlations(
    by_object: Mapping[str, Mapping[str, Any]], trained: Sequence[frozenset[str]], resamples: int, seed: int
) -> Scores:
    """Rank correlations, over objects, of the hallucination rate: with the frequency in training, and with the largest
    probability of the object given another object in training."""
    names = [name for name, counts in by_object.items() if counts["mentions"] >= _FEWEST]
    every = sorted(frozenset().union(*trained, names))
    places = {name: place for place, name in enumerate(every)}
    has = np.zeros((len(trained), len(every)))
    for row, objects in enumerate(trained):
        has[row, [places[name] for name in objects]] = 1
    together = has.T @ has
    frequency = together.diagonal().copy()
    given = together / np.maximum(frequency, 1)[None]  # [object, other], P(object | other)
    np.fill_diagonal(given, 0)
    given[:, frequency < _FEWEST] = 0  # too few images for an estimate
    of = [places[name] for name in names]
    rates = np.array([by_object[name]["rate"] for name in names])
    drawn = np.random.default_rng(seed).integers(0, max(1, len(names)), (resamples, len(names)))
    found: Scores = {}
    for name, values in zip(CORRELATIONS, (frequency[of], given.max(1, initial=0)[of]), strict=True):
        value = spearman(rates, values)
        if value is not None:
            samples = [each for rows in drawn if (each := spearman(rates[rows], values[rows])) is not None]
            found[name] = interval(value, np.array(samples or [value]), len(names))
    return found


def _worst(captions: Mapping[Id, Sequence[str]], found: Mapping[Id, Sequence[Mentioned]]) -> list[dict[str, Any]]:
    order = sorted((id for id in found if found[id][0].made_up), key=lambda id: -len(found[id][0].made_up))
    return [
        {
            "id": id,
            "caption": " ".join(captions[id][0].split()),
            "made up": list(dict.fromkeys(found[id][0].made_up)),
            "there": sorted(found[id][0].present),
        }
        for id in order[:TELLING]
    ]

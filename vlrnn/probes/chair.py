"""CHAIR: object hallucination in captions.

Source: Rohrbach, Hendricks, Burns, Darrell, Saenko, Object hallucination in image captioning, EMNLP 2018, section 2.
"""

from collections.abc import Callable, Mapping, Sequence
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
from vlrnn.metrics.statistics import Floats, Ratio, Resampler, bootstrap_settings, interval, ratios, spearman
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


Scores = dict[str, dict[str, float | int]]


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
    def total(count: Callable[[Mentioned], int]) -> Floats:
        return np.array([sum(map(count, each)) for each in found.values()], float)

    number = total(lambda each: 1)
    scores = ratios(
        {
            "CHAIRs": Ratio(total(lambda each: bool(each.made_up)), number),
            "CHAIRi": Ratio(total(lambda each: len(each.made_up)), total(lambda each: len(each.objects))),
            "recall": Ratio(
                total(lambda each: len(each.present.intersection(each.objects))), total(lambda each: len(each.present))
            ),
        },
        resampler,
        scale=100,
    )
    return scores | ratios({"mean_length": Ratio(total(lambda each: each.words), number)}, resampler)


def _read(caption: str, present: frozenset[str], find: Mentions) -> Mentioned:
    objects = find(caption)
    return Mentioned(objects, [each for each in objects if each not in present], present, len(caption.split()))


_NOTHING = {"CHAIRi": "no caption mentions an object of the table", "recall": "no image has an object"}


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
    not_computed = _add_correlations(scores, by_object, training, resamples, seed)
    baselines = _baselines(captions, written, given, present, find, resampler, not_computed, str(references))
    paths = {"predictions": predictions, "objects": objects, "references": references, "training": training}
    return Finding(
        scores,
        settings={
            **path_settings(**paths, synonyms=synonyms, double_words=double_words),
            "mode": mode,
            "unit": "percent",
            "ids": matched.counts,
            "captions": len(captions),
            "mentions": sum(len(each.objects) for (each,) in found.values()),
            **bootstrap_settings(resamples, seed),
        },
        baselines=baselines,
        cases=_worst(captions, found),
        details={"objects": by_object},
        not_computed=not_computed,
        notes=notes,
    )


def _baselines(
    captions: Mapping[Id, Sequence[str]],
    written: References,
    given: ObjectSets,
    present: Mapping[Id, frozenset[str]],
    find: Mentions,
    resampler: Resampler,
    not_computed: dict[str, str],
    place: str,
) -> dict[str, Scores]:
    baselines: dict[str, Scores] = {}
    if len(captions) > 1:
        baselines["shuffled"] = _shuffled(captions, present, find, resampler, resampler.seed)
    else:
        not_computed["shuffled"] = "there is one caption, and no other image to assign it to"
    if human := {id: written[id] for id in captions if written.get(id)}:
        baselines["references"] = _floor(human, given, find, Resampler(len(human), resampler.resamples, resampler.seed))
    else:
        lacking = f"{place} has no caption of these images"
        not_computed["references"] = lacking if written else "the floor needs human captions (--references)"
    return baselines


def _add_correlations(
    scores: Scores,
    by_object: Mapping[str, Mapping[str, float]],
    training: str | Path | None,
    resamples: int,
    seed: int,
) -> dict[str, str]:
    """Add the correlations to the scores; returns score -> reason of all that cannot be computed."""
    trained = [] if training is None else list(read_object_sets(training).of.values())
    scores |= _correlations(by_object, trained, resamples, seed) if trained else {}
    few = f"fewer than three objects have {_FEWEST} mentions, or they do not differ"
    reasons = dict.fromkeys(CORRELATIONS, few if trained else "needs the objects of training images (--training)")
    return {name: reason for name, reason in (_NOTHING | reasons).items() if name not in scores}


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
    captions: Mapping[Id, Sequence[str]],
    present: Mapping[Id, frozenset[str]],
    find: Mentions,
    resampler: Resampler,
    seed: int,
) -> Scores:
    """CHAIR of captions that are assigned to other images, the mean over several random assignments."""
    ids, order = list(captions), list(captions)
    given: dict[Id, list[str]] = {id: [] for id in ids}
    for draw in range(SHUFFLES):
        Random(f"{seed} {draw}").shuffle(order)
        for one, other in zip(order, [*order[1:], order[0]], strict=True):  # one cycle, without fixed points
            given[one] += captions[other]
    return chair(given, present, find, resampler)[0]


def _by_object(found: Mapping[Id, Sequence[Mentioned]]) -> dict[str, dict[str, float | int]]:
    """Object -> number of mentions and of hallucinations, and their rate in percent; the highest first."""
    mention_counts: dict[str, int] = {}
    made_up: dict[str, int] = {}
    for each in (each for captions in found.values() for each in captions):
        for name in each.objects:
            mention_counts[name] = mention_counts.get(name, 0) + 1
        for name in each.made_up:
            made_up[name] = made_up.get(name, 0) + 1
    order = sorted(
        mention_counts, key=lambda name: (-made_up.get(name, 0) / mention_counts[name], -mention_counts[name], name)
    )
    return {
        name: {
            "mentions": mention_counts[name],
            "made_up": made_up.get(name, 0),
            "rate": 100 * made_up.get(name, 0) / mention_counts[name],
        }
        for name in order
    }


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
    """The captions with most hallucinated objects."""
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

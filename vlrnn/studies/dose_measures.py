"""Measures of the models of a dose-response study on its test scenes: shares, resampled over seeds and scenes."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import eq, ne
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vlrnn.data.records import Example, Id, Prediction, RecordFile, open_split
from vlrnn.data.synthetic.scenes import BIASED_KINDS, COLOURS, SHAPES, Scene
from vlrnn.metrics.statistics import Floats, Resampler
from vlrnn.probes.scene_truth import judge, scene_of
from vlrnn.runs import predictions_file

CAUSE, EFFECT = BIASED_KINDS
CONTROL = "triangle"
"""The shape that the quickstart's captioner, trained on scenes without bias, hallucinates beside a star as rarely as
rings. A small CNN confuses others with stars (crosses) or with each other (circles, squares)."""


def tempts(example: Example, shape: str) -> bool:
    """Whether a scene has the cause, and not this shape; and no held-out pair, for which any object may be
    hallucinated."""
    scene = scene_of(example)
    shapes = {thing.shape for thing in scene.objects}
    return CAUSE in shapes and shape not in shapes and not scene.held_out


def objects_in_caption(caption: str, scene: Scene) -> float:
    """F1, in 0..1, of the objects that a caption names, by colour and shape, against those of the scene. Early in
    training some objects are right long before a whole caption is."""
    named = Counter(pair for pair in pairwise(caption.split()) if pair[0] in COLOURS and pair[1] in SHAPES)
    present = Counter(thing.pair for thing in scene.objects)
    return 2 * (named & present).total() / (named.total() + present.total())


class Share(NamedTuple):
    """A share, in 0..1, the share of each resampled set of seeds and scenes [resamples], and the number of chances."""

    value: float
    samples: Floats
    n: int

    def less(self, other: "Share") -> "Share":
        return Share(self.value - other.value, self.samples - other.samples, min(self.n, other.n))


class DoseMeasures(NamedTuple):
    """Results of S seeds on I scenes: `hits` [S, I], whole or fractional, of `chances` [I]."""

    hits: Floats
    chances: Floats

    def share(self, resampler: Resampler, seeds: Sequence[int]) -> Share:
        """The share of hits; `seeds` are of the resampling of models, the resampler draws scenes."""
        sums = resampler.sums(np.stack([*self.hits, self.chances], -1))  # [resamples, S + 1]
        drawn = np.random.default_rng(seeds).integers(0, len(self.hits), (len(sums), len(self.hits)))
        hits = np.take_along_axis(sums, drawn, 1).mean(1)
        chances = float(self.chances.sum())
        value = self.hits.mean(0).sum() / max(chances, 1)
        return Share(value, hits / np.maximum(sums[:, -1], 1), int(chances) * len(self.hits))


def measure_captions(runs: Sequence[Path], scenes: Sequence[Example]) -> dict[str, DoseMeasures]:
    """Captions of runs that differ in their seed: hallucinated shapes, captions that are `right`, F1 of the `objects`
    (by `objects_in_caption`), and the same with the picture of another scene (`strangers`)."""

    def over_scenes(part: str, chances: Sequence[bool], hits: Callable[[str, Example], float]) -> DoseMeasures:
        predicted = [_texts(run / part) for run in runs]
        pairs = list(zip(chances, scenes, strict=True))
        found = [[chance and hits(texts[scene.id], scene) for chance, scene in pairs] for texts in predicted]
        return DoseMeasures(np.array(found, float), np.array(chances, float))

    def tempted(shape: str) -> DoseMeasures:
        return over_scenes("", [tempts(scene, shape) for scene in scenes], lambda text, _: shape in text.split())

    def objects(text: str, scene: Example) -> float:
        return objects_in_caption(text, scene_of(scene))

    every = [True] * len(scenes)
    return {
        **{shape: tempted(shape) for shape in (EFFECT, CONTROL)},
        "right": over_scenes("", every, lambda text, scene: judge(text, scene_of(scene)).right),
        "objects": over_scenes("", every, objects),
        "strangers": over_scenes("strangers", every, objects),
    }


def measure_answers(runs: Sequence[Path], scenes: Sequence[Example], tests: Path) -> dict[str, DoseMeasures]:
    """As `measure_captions`, of answers; the poll in `tests` has questions after the number of an absent shape."""
    places = {scene.id: place for place, scene in enumerate(scenes)}

    def over_scenes(part: str, examples: Sequence[Example], hits: Callable[[str, str], bool]) -> DoseMeasures:
        """Counts of answers that are hits, a function of the answer and the right one."""
        of = [places[example.image_id] for example in examples]
        predicted = [_texts(run / part) for run in runs]
        found = [[hits(texts[each.id], each.answers[0]) for each in examples] for texts in predicted]
        return DoseMeasures(
            np.stack([np.bincount(of, np.array(each, float), len(scenes)) for each in found]),
            np.bincount(of, minlength=len(scenes)).astype(float),
        )

    questions, polls = (list(open_split(tests / name, "test")) for name in ("vqa", "polls"))
    measured = {
        shape: over_scenes("polls", [poll for poll in polls if poll.question_type == shape], ne)
        for shape in (EFFECT, CONTROL)
    }
    return measured | {"right": over_scenes("", questions, eq), "strangers": over_scenes("strangers", questions, eq)}


def _texts(run: Path) -> dict[Id, str]:
    return {each.id: each.text for each in RecordFile(predictions_file(run, "test"), Prediction)}

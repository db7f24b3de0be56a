"""Whether a caption of a synthetic scene is true, judged against the scene itself and not against references.

A caption is read back by the grammar that the references were made with. What is not of the grammar is not
right. Relations are judged on the actual centres, by `vlrnn.data.synthetic.scenes.relation_holds`: where the grammar's
own chain puts an object it has one right relation; a model may name objects in another order, and of a
diagonal pair may say either relation that is plain to see.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from vlrnn.data.formats.captions import read_predictions
from vlrnn.data.matching import match
from vlrnn.data.records import Example, RecordFile, ScoredExample
from vlrnn.data.synthetic.captions import Claims, read_caption
from vlrnn.data.synthetic.scenes import Scene, relation_holds
from vlrnn.errors import UserError
from vlrnn.metrics.statistics import Ratio, Resampler, ratios
from vlrnn.probes.finding import TELLING, Finding


@dataclass(frozen=True)
class Verdict:
    """What of a caption is right; a caption that is not of the grammar has nothing right.

    Attributes:
        readable: it is of the grammar.
        shapes: every object's shape is named as often as it is there, and none is invented.
        objects: the same for shape and colour together.
        relations: every relation claimed holds (it has one between each object and the next).
        sizes: every size claimed is right.
        ground: the ground claimed is right, or none is claimed.
    """

    readable: bool
    shapes: bool
    objects: bool
    relations: bool
    sizes: bool
    ground: bool

    @property
    def right(self) -> bool:
        """Everything is right."""
        return all(getattr(self, each.name) for each in fields(self))


def judge(caption: str, scene: Scene) -> Verdict:
    """Judge any text as a caption of a scene."""
    claims = read_caption(caption)
    if claims is None:
        return Verdict(*[False] * len(fields(Verdict)))
    named = Counter((mention.colour, mention.shape) for mention in claims.mentions)
    present = Counter(thing.pair for thing in scene.objects)
    return Verdict(
        readable=True,
        shapes=_shapes(named) == _shapes(present),
        objects=named == present,
        relations=_relations_hold(claims, scene),
        sizes=_sizes_hold(claims, scene),
        ground=claims.ground in (None, scene.ground),
    )


def _shapes(pairs: Counter[tuple[str, str]]) -> Counter[str]:
    return Counter(shape for _, shape in pairs.elements())


def _relations_hold(claims: Claims, scene: Scene) -> bool:
    """A relation of an object that is not there does not hold."""
    present = {thing.pair: thing for thing in scene.objects}
    things = [present.get((mention.colour, mention.shape)) for mention in claims.mentions]
    return all(
        a is not None and b is not None and relation_holds(a, name, b)
        for a, name, b in zip(things[1:], claims.relations, things, strict=False)
    )


def _sizes_hold(claims: Claims, scene: Scene) -> bool:
    present = {thing.pair: thing.size for thing in scene.objects}
    return all(mention.size in (None, present.get((mention.colour, mention.shape))) for mention in claims.mentions)


def scene_truth(
    texts: Sequence[str], examples: Sequence[Example], *, resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, float | int]]:
    """Judge the captions of many scenes.

    Args:
        texts: captions.
        examples: the record of each, whose `attributes` hold the scene.
        resamples, seed: of the bootstrap over scenes.

    Returns:
        `right`, the share that is right in all; that share on scenes with and without a held-out pair
        (`right_held_out`, `right_familiar`) and per number of objects (`right_of_1` ...), absent where there is no such
        scene; and the share for each part of a `Verdict`. Shares are in 0..1, each `{"value", "low", "high", "n"}` with
        a 95 % interval and the number of scenes that it is a share of.

    Raises:
        UserError: there is nothing to judge, or a record has no scene.
    """
    scenes = [_scene(example) for example in examples]
    verdicts = [judge(text, scene) for text, scene in zip(texts, scenes, strict=True)]
    if not verdicts:
        raise UserError("no captions of scenes to judge")
    right = np.array([verdict.right for verdict in verdicts])
    held_out = np.array([scene.held_out for scene in scenes])
    counts = np.array([len(scene.objects) for scene in scenes])
    everywhere = np.ones_like(right)
    groups = {"right": (right, everywhere), "right_held_out": (right, held_out), "right_familiar": (right, ~held_out)}
    groups |= {f"right_of_{count}": (right, counts == count) for count in sorted(set(counts.tolist()))}
    for part in fields(Verdict):
        groups[part.name] = np.array([getattr(verdict, part.name) for verdict in verdicts]), everywhere
    parts = {name: Ratio(hits & members, members) for name, (hits, members) in groups.items()}
    return ratios(parts, Resampler(len(verdicts), resamples, seed))


def probe_scene_truth(
    predictions: str | Path, examples: str | Path, *, resamples: int = 1000, seed: int = 0
) -> Finding:
    """Are captions of synthetic scenes true of the scenes? The cases are captions of which least is right.

    Args:
        predictions: predictions.jsonl, or COCO results.
        examples: the prepared .jsonl of the scenes that they are about.
        resamples, seed: of the bootstrap over images.

    Raises:
        UserError: a file is wrong, ids do not match, or an example has no scene.
    """
    by_image = {example.image_id: example for example in RecordFile(examples, ScoredExample)}
    files = {id: example.image for id, example in by_image.items()}
    matched = match(read_predictions(predictions), by_image, "error", str(predictions), files=files)
    texts = {id: prediction.text for id, prediction in matched.predictions.items()}
    truth = scene_truth(list(texts.values()), list(matched.references.values()), resamples=resamples, seed=seed)
    wrong = {id: _wrong(text, matched.references[id]) for id, text in texts.items()}
    worst = sorted((id for id in wrong if wrong[id]), key=lambda id: -len(wrong[id]))[:TELLING]
    return Finding(
        scores=truth,
        settings={"predictions": str(predictions), "examples": str(examples), "n": len(texts)},
        cases=[{"id": id, "caption": texts[id], "wrong": wrong[id]} for id in worst],
        notes=matched.notes,
    )


def _wrong(text: str, example: Example) -> list[str]:
    """The parts of a verdict that fail."""
    verdict = judge(text, _scene(example))
    return [part.name for part in fields(verdict) if not getattr(verdict, part.name)]


def _scene(example: Example) -> Scene:
    value = (example.attributes or {}).get("scene")
    if value is None:
        raise UserError(f"example {example.id!r} has no scene in its attributes; only synthetic scenes can be judged")
    try:
        return Scene.from_dict(value)
    except UserError as fault:
        raise UserError(f"example {example.id!r}: {fault}") from None

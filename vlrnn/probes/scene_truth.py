"""Truth of captions of synthetic scenes, evaluated on the scene instead of references.

A caption is parsed with the grammar of the references; one that is not in the grammar is wrong. Relations are evaluated
on the centres of the objects, by `vlrnn.data.synthetic.scenes.relation_holds`. Objects may be named in any order;
consecutive objects of a scene have one correct relation, a diagonal pair has two.
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
    """The correct parts of a caption; none for a caption that is not in the grammar.

    Attributes:
        readable: it is in the grammar.
        shapes: every shape is named as often as it occurs, and no other.
        objects: the same for shape and colour together.
        relations: every claimed relation, between an object and the next, holds.
        sizes: every claimed size is correct.
        ground: the claimed ground is correct, or none is claimed.
    """

    readable: bool
    shapes: bool
    objects: bool
    relations: bool
    sizes: bool
    ground: bool

    @property
    def right(self) -> bool:
        """Whether all parts are correct."""
        return all(getattr(self, each.name) for each in fields(self))


def judge(caption: str, scene: Scene) -> Verdict:
    """Evaluate a text as a caption of a scene."""
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
    """Whether all claimed relations hold; one of an object that is not in the scene does not."""
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
    """Evaluate the captions of many scenes.

    Args:
        texts: captions.
        examples: the record of each, with the scene in `attributes`.
        resamples, seed: of the bootstrap over scenes.

    Returns:
        `right`, the fraction of captions that are correct in all parts; this fraction on scenes with and without a
        held-out pair (`right_held_out`, `right_familiar`) and by number of objects (`right_of_1` ...), absent if there
        is no such scene; and the fraction for each part of a `Verdict`. Each is `{"value", "low", "high", "n"}` in
        0..1, with a 95 % interval and the number of scenes.

    Raises:
        UserError: there are no captions, or a record has no scene.
    """
    scenes = [_scene(example) for example in examples]
    verdicts = [judge(text, scene) for text, scene in zip(texts, scenes, strict=True)]
    if not verdicts:
        raise UserError("no captions of scenes to evaluate")
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
    """Are captions of synthetic scenes correct? The cases are captions of which least is right.

    Args:
        predictions: predictions.jsonl, or COCO results.
        examples: the prepared .jsonl of the scenes that they are about.
        resamples, seed: of the bootstrap over images.

    Raises:
        UserError: a file is invalid, ids do not match, or an example has no scene.
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
    """The parts of a caption that are wrong."""
    verdict = judge(text, _scene(example))
    return [part.name for part in fields(verdict) if not getattr(verdict, part.name)]


def _scene(example: Example) -> Scene:
    value = (example.attributes or {}).get("scene")
    if value is None:
        raise UserError(f"example {example.id!r} has no scene in its attributes; only synthetic scenes are supported")
    try:
        return Scene.from_dict(value)
    except UserError as fault:
        raise UserError(f"example {example.id!r}: {fault}") from None

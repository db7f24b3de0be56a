"""Truth of captions of synthetic scenes, evaluated on the scene instead of references.

A caption is parsed with the grammar of the references; one that is not in the grammar is wrong. Relations are evaluated
on the centres of the objects, by `vlrnn.data.synthetic.scenes.relation_holds`. Objects may be named in any order;
consecutive objects of a scene have one correct relation, a diagonal pair has two.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vlrnn.data.formats.captions import read_predictions
from vlrnn.data.matching import match
from vlrnn.data.records import Example, RecordFile, ScoredExample
from vlrnn.data.synthetic.captions import read_caption
from vlrnn.data.synthetic.scenes import Scene, relation_holds
from vlrnn.errors import UserError
from vlrnn.metrics.statistics import Ratio, Resampler, Scores, ratios
from vlrnn.probes.finding import TELLING, Finding


class Verdict(NamedTuple):
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
        return all(self)


def judge(caption: str, scene: Scene) -> Verdict:
    """Evaluate a text as a caption of a scene."""
    claims = read_caption(caption)
    if claims is None:
        return Verdict(*[False] * len(Verdict._fields))
    pairs = [(mention.colour, mention.shape) for mention in claims.mentions]
    present = {thing.pair: thing for thing in scene.objects}
    things = [present.get(pair) for pair in pairs]
    return Verdict(
        readable=True,
        shapes=Counter(shape for _, shape in pairs) == Counter(thing.shape for thing in scene.objects),
        objects=Counter(pairs) == Counter(thing.pair for thing in scene.objects),
        relations=all(
            a is not None and b is not None and relation_holds(a, name, b)
            for a, name, b in zip(things[1:], claims.relations, things, strict=False)
        ),
        sizes=all(
            mention.size in (None, thing and thing.size) for mention, thing in zip(claims.mentions, things, strict=True)
        ),
        ground=claims.ground in (None, scene.ground),
    )


def scene_truth(texts: Sequence[str], examples: Sequence[Example], *, resamples: int = 1000, seed: int = 0) -> Scores:
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
    scenes = [scene_of(example) for example in examples]
    verdicts = [judge(text, scene) for text, scene in zip(texts, scenes, strict=True)]
    if not verdicts:
        raise UserError("no captions of scenes to evaluate")
    right = np.array([verdict.right for verdict in verdicts])
    held_out = np.array([scene.held_out for scene in scenes])
    counts = np.array([len(scene.objects) for scene in scenes])
    everywhere = np.ones_like(right)
    groups = {"right": (right, everywhere), "right_held_out": (right, held_out), "right_familiar": (right, ~held_out)}
    groups |= {f"right_of_{count}": (right, counts == count) for count in sorted(set(counts.tolist()))}
    groups |= {name: (column, everywhere) for name, column in zip(Verdict._fields, np.array(verdicts).T, strict=True)}
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
    texts = matched.texts
    truth = scene_truth(list(texts.values()), list(matched.references.values()), resamples=resamples, seed=seed)
    wrong = {}
    for id, text in texts.items():
        verdict = judge(text, scene_of(matched.references[id]))._asdict()
        wrong[id] = [part for part, right in verdict.items() if not right]
    worst = sorted((id for id in wrong if wrong[id]), key=lambda id: -len(wrong[id]))[:TELLING]
    return Finding(
        scores=truth,
        settings={"predictions": str(predictions), "examples": str(examples), "n": len(texts)},
        cases=[{"id": id, "caption": texts[id], "wrong": wrong[id]} for id in worst],
        notes=matched.notes,
    )


def scene_of(example: Example) -> Scene:
    """The scene in the attributes of an example; a UserError if there is none."""
    value = (example.attributes or {}).get("scene")
    if value is None:
        raise UserError(f"example {example.id!r} has no scene in its attributes; only synthetic scenes are supported")
    try:
        return Scene.from_dict(value)
    except UserError as fault:
        raise UserError(f"example {example.id!r}: {fault}") from None

"""Whether a caption of a synthetic scene is true, judged against the scene itself and not against references.

A caption is read back by the grammar that the references were made with. What is not of the grammar is not
right. Relations are judged on the actual centres, by `vlrnn.data.scenes.relation_holds`: where the grammar's
own chain puts an object it has one right relation; a model may name objects in another order, and of a
diagonal pair may say either relation that is plain to see.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from vlrnn.data.scene_language import Claims, read_caption
from vlrnn.data.scenes import Scene, relation_holds
from vlrnn.errors import UserError
from vlrnn.records import Example


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
    there = Counter(thing.pair for thing in scene.objects)
    return Verdict(
        readable=True,
        shapes=_shapes(named) == _shapes(there),
        objects=named == there,
        relations=_relations_hold(claims, scene),
        sizes=_sizes_hold(claims, scene),
        ground=claims.ground in (None, scene.ground),
    )


def _shapes(pairs: Counter[tuple[str, str]]) -> Counter[str]:
    return Counter(shape for _, shape in pairs.elements())


def _relations_hold(claims: Claims, scene: Scene) -> bool:
    """A relation of an object that is not there does not hold."""
    there = {thing.pair: thing for thing in scene.objects}
    things = [there.get((mention.colour, mention.shape)) for mention in claims.mentions]
    return all(
        a is not None and b is not None and relation_holds(a, name, b)
        for a, name, b in zip(things[1:], claims.relations, things, strict=False)
    )


def _sizes_hold(claims: Claims, scene: Scene) -> bool:
    there = {thing.pair: thing.size for thing in scene.objects}
    return all(mention.size in (None, there.get((mention.colour, mention.shape))) for mention in claims.mentions)


def scene_truth(texts: Sequence[str], examples: Sequence[Example]) -> dict[str, Any]:
    """Judge the captions of many scenes.

    Args:
        texts: captions.
        examples: the record of each, whose `attributes` hold the scene.

    Returns:
        `right`, the share that is right in all, then that share per number of objects (`right_of_1` ...), on
        scenes with and without a held-out pair (`right_held_out`, `right_familiar`; absent where there is no
        such scene), the share for each part of a `Verdict`, and `n`. Shares are in 0..1.

    Raises:
        UserError: there is nothing to judge, or a record has no scene.
    """
    scenes = [_scene(example) for example in examples]
    verdicts = [judge(text, scene) for text, scene in zip(texts, scenes, strict=True)]
    if not verdicts:
        raise UserError("no captions of scenes to judge")
    groups: dict[str, list[bool]] = {"right": [verdict.right for verdict in verdicts]}
    for verdict, scene in zip(verdicts, scenes, strict=True):
        groups.setdefault(f"right_of_{len(scene.objects)}", []).append(verdict.right)
        groups.setdefault("right_held_out" if scene.held_out else "right_familiar", []).append(verdict.right)
    for part in fields(Verdict):
        groups[part.name] = [getattr(verdict, part.name) for verdict in verdicts]
    return {**{name: sum(group) / len(group) for name, group in groups.items()}, "n": len(verdicts)}


def _scene(example: Example) -> Scene:
    value = (example.attributes or {}).get("scene")
    if value is None:
        raise UserError(f"example {example.id!r} has no scene in its attributes; only synthetic scenes can be judged")
    return Scene.from_dict(value)

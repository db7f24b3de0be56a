"""Questions about synthetic scenes, with answers, and their inverses.

A question refers to objects by colour and shape and has one correct answer. Yes and no are equally frequent.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random

from vlrnn.data.records import Example
from vlrnn.data.synthetic.captions import with_article
from vlrnn.data.synthetic.scenes import COLOURS, HELD_OUT, INVERSE, SHAPES, Scene, SceneObject, relation

ANNOTATORS = 10
"""Copies of an answer in a record, since VQA has ten annotators."""

_FROM = {"left": "left of", "right": "right of", "above": "above", "below": "below"}


@dataclass(frozen=True)
class SceneQuestion:
    """`kind` is the question type; `answer_type` is `yes/no`, `number` or `other`, as in VQA."""

    text: str
    answer: str
    kind: str
    answer_type: str


def generate_questions(
    scene: Scene, rng: Random, count: int, *, novel_kinds: bool = False
) -> tuple[SceneQuestion, ...]:
    """Sample up to `count` questions of different kinds about a scene.

    Args:
        scene: any.
        rng: random number generator.
        count: number of questions; a scene of one object has fewer kinds (no relation, no side).
        novel_kinds: allow questions after a held-out pair; not in train, where the answer is always no.
    """
    kinds = rng.sample(_KINDS, len(_KINDS))
    questions: list[SceneQuestion] = []
    for kind in kinds:
        if len(questions) < count and (found := kind(scene, rng, novel_kinds)) is not None:
            questions.append(found)
    return tuple(questions)


def _colour(scene: Scene, rng: Random, novel_kinds: bool) -> SceneQuestion | None:
    thing = _only(scene, rng, lambda thing: thing.shape)
    if thing is None:
        return None
    return SceneQuestion(f"what color is the {thing.shape}", thing.colour, "color", "other")


def _shape(scene: Scene, rng: Random, novel_kinds: bool) -> SceneQuestion | None:
    thing = _only(scene, rng, lambda thing: thing.colour)
    if thing is None:
        return None
    return SceneQuestion(f"what shape is the {thing.colour} object", thing.shape, "shape", "other")


def _only(scene: Scene, rng: Random, key: Callable[[SceneObject], str]) -> SceneObject | None:
    """An object whose key no other object has, so that `the` is unambiguous."""
    keys = [key(thing) for thing in scene.objects]
    alone = [thing for thing in scene.objects if keys.count(key(thing)) == 1]
    return rng.choice(alone) if alone else None


def _count(scene: Scene, rng: Random, novel_kinds: bool) -> SceneQuestion:
    form = rng.randrange(3)
    if form == 0:
        return SceneQuestion("how many objects are there", str(len(scene.objects)), "count", "number")
    if form == 1:
        return how_many(rng.choice(SHAPES), scene)
    colour = rng.choice(COLOURS)
    number = sum(thing.colour == colour for thing in scene.objects)
    return SceneQuestion(f"how many {colour} objects are there", str(number), "count", "number")


def how_many(shape: str, scene: Scene) -> SceneQuestion:
    """The question after the number of objects of a shape."""
    plural = f"{shape}es" if shape.endswith("s") else f"{shape}s"
    number = sum(thing.shape == shape for thing in scene.objects)
    return SceneQuestion(f"how many {plural} are there", str(number), "count", "number")


def _exists(scene: Scene, rng: Random, novel_kinds: bool) -> SceneQuestion:
    pairs = [thing.pair for thing in scene.objects]
    if rng.random() < 0.5:
        (colour, shape), answer = rng.choice(pairs), "yes"
    else:
        absent = [
            (colour, shape)
            for colour in COLOURS
            for shape in SHAPES
            if (colour, shape) not in pairs and (novel_kinds or (colour, shape) not in HELD_OUT)
        ]
        (colour, shape), answer = rng.choice(absent), "no"
    return SceneQuestion(f"is there {with_article(f'{colour} {shape}')}", answer, "exists", "yes/no")


def _relation(scene: Scene, rng: Random, novel_kinds: bool) -> SceneQuestion | None:
    """Whether a relation holds; if it does not, its opposite holds, so that both answers are unambiguous."""
    if (pair := _neighbours(scene, rng)) is None:
        return None
    a, b = pair
    truth = relation(a, b)
    name, answer = (truth, "yes") if rng.random() < 0.5 else (INVERSE[truth], "no")
    return SceneQuestion(f"is the {a.name} {_FROM[name]} the {b.name}", answer, "relation", "yes/no")


def _side(scene: Scene, rng: Random, novel_kinds: bool) -> SceneQuestion | None:
    if (pair := _neighbours(scene, rng)) is None:
        return None
    a, b = pair
    return SceneQuestion(f"where is the {a.name} from the {b.name}", relation(a, b), "side", "other")


def _neighbours(scene: Scene, rng: Random) -> list[SceneObject] | None:
    """Two consecutive objects, whose relation is unambiguous, in random order."""
    if len(scene.objects) < 2:
        return None
    start = rng.randrange(len(scene.objects) - 1)
    pair = list(scene.objects[start : start + 2])
    rng.shuffle(pair)
    return pair


def _size(scene: Scene, rng: Random, novel_kinds: bool) -> SceneQuestion:
    thing = rng.choice(scene.objects)
    return SceneQuestion(f"how big is the {thing.name}", thing.size, "size", "other")


def _ground(scene: Scene, rng: Random, novel_kinds: bool) -> SceneQuestion:
    return SceneQuestion("what is the background like", scene.ground, "ground", "other")


_KINDS: tuple[Callable[[Scene, Random, bool], SceneQuestion | None], ...] = (
    _colour,
    _shape,
    _count,
    _exists,
    _relation,
    _side,
    _size,
    _ground,
)

_RELATION = re.compile(r"is the (?P<one>.+?) (?P<name>left|right|above|below)(?P<of> of|) the (?P<other>.+)")
_OPPOSITE = {"yes": "no", "no": "yes"}


def with_inverses(examples: Iterable[Example]) -> list[Example]:
    """The questions after relations, each followed by two that it implies: with the inverse relation, whose answer is
    the opposite, and with the inverse relation and the objects exchanged, whose answer is the same.

    `attributes` of these have the id of the first as `opposite_of` and `same_as`.
    """
    found: list[Example] = []
    for example in examples:
        relation = _RELATION.fullmatch(example.question or "")
        if relation is None or not set(example.answers) <= _OPPOSITE.keys():
            continue
        inverse = INVERSE[relation["name"]] + (" of" if INVERSE[relation["name"]] in ("left", "right") else "")
        found.append(example)
        opposite = tuple(_OPPOSITE[answer] for answer in example.answers)
        for name, key, one, other, answers in (
            ("opposite", "opposite_of", relation["one"], relation["other"], opposite),
            ("same", "same_as", relation["other"], relation["one"], example.answers),
        ):
            id, question = f"{example.id}-{name}", f"is the {one} {inverse} the {other}"
            attributes = {**(example.attributes or {}), key: example.id}
            found.append(replace(example, id=id, question=question, answers=answers, attributes=attributes))
    return found

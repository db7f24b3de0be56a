"""Synthetic scenes as prepared data sets: images, captions, questions and prose, deterministic for a seed."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from vlrnn.data.records import SPLITS, Example, write_dataset
from vlrnn.data.synthetic.captions import captions
from vlrnn.data.synthetic.questions import ANNOTATORS, generate_questions
from vlrnn.data.synthetic.rendering import render
from vlrnn.data.synthetic.scenes import BIASED_KINDS, HELD_OUT, Scene, sample_scene
from vlrnn.errors import UserError, translating_file_errors
from vlrnn.files import replacing
from vlrnn.processes import workers
from vlrnn.progress import track

HELD_OUT_SHARE = 0.25
"""Fraction of val and test scenes with a pair of colour and shape that is not in train."""


@dataclass(frozen=True)
class SceneSettings:
    """The settings of scenes. Every scene has its own random seed (`seed`, split, number): it does not depend on the
    number of scenes or processes.

    Args:
        train: scenes in train.
        val: scenes in val.
        test: scenes in test.
        seed: of the scenes.
        bias: 0 to 1: how often a ring comes with a star.
        image_size: pixels of a side.
        max_objects: 1 to 4 objects in a scene.
        questions: about a scene, at most.
        workers: processes.
    """

    train: int = 4000
    val: int = 500
    test: int = 1000
    seed: int = 0
    bias: float = 0.0
    image_size: int = 96
    max_objects: int = 4
    questions: int = 5
    workers: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.bias <= 1:
            raise UserError(f"bias {self.bias} is not between 0 and 1")
        if not 1 <= self.max_objects <= 4:
            raise UserError(f"max_objects {self.max_objects} is not between 1 and 4")
        if self.bias and self.max_objects == 1:
            raise UserError("a bias needs scenes of two objects or more; raise max_objects")
        if not 32 <= self.image_size <= 1024:
            raise UserError(f"image_size {self.image_size} is not between 32 and 1024 pixels")


def make_scenes(folder: str | Path, **settings: Any) -> dict[str, Any]:
    """Make scenes: `folder/images`, and two prepared data sets of them, `folder/captions` and `folder/vqa`.

    Args:
        folder: target, created if absent.
        settings: of `SceneSettings`. A split without scenes is left out. The bias is the probability, in train alone,
            of adding a ring to a scene with a star and no ring. With one worker, no process is started.

    Returns:
        the contents of `captions/dataset.json`, with the rates at which the biased kinds occur.

    Raises:
        UserError: a value out of range, or the folder cannot be written.
    """
    recipe = SceneSettings(**settings)
    counts = {split: count for split in SPLITS if (count := getattr(recipe, split)) > 0}
    if not counts:
        raise UserError("no scenes to make; set at least one in train, val or test")
    folder = Path(folder)
    with translating_file_errors():
        (folder / "images").mkdir(parents=True, exist_ok=True)
    jobs = [(recipe, split, number, folder) for split in counts for number in range(1, counts[split] + 1)]
    # For few scenes, starting processes takes longer.
    several = recipe.workers > 1 and len(jobs) >= 200
    with workers(recipe.workers) if several else nullcontext() as pool:
        found = pool.map(_make, jobs, chunksize=50) if pool else map(_make, jobs)
        made = list(track(found, "making", total=len(jobs), unit="scenes"))
    captioned: dict[str, list[Example]] = {split: [] for split in counts}
    questioned: dict[str, list[Example]] = {split: [] for split in counts}
    scenes: dict[str, list[Scene]] = {split: [] for split in counts}
    for (_, split, number, _), scene in zip(jobs, made, strict=True):
        captions_of, *questions_of = _examples(recipe, scene, split, number)
        captioned[split].append(captions_of)
        questioned[split] += questions_of
        scenes[split].append(scene)
    about: dict[str, Any] = {
        "source": "vlrnn.data.synthetic.dataset",
        "licence": "CC0-1.0",
        "settings": {name: getattr(recipe, name) for name in ("seed", "bias", "image_size", "max_objects")},
        "held_out_pairs": [" ".join(pair) for pair in HELD_OUT],
        "scenes": {split: _rates(scenes[split]) for split in counts},
    }
    write_dataset(folder / "vqa", questioned, name="synthetic scenes: questions", **about)
    return write_dataset(folder / "captions", captioned, name="synthetic scenes: captions", **about)


Job = tuple[SceneSettings, str, int, Path]


def _make(job: Job) -> Scene:
    """Sample one scene and save its image."""
    recipe, split, number, folder = job
    rng = _rng(recipe, split, number, "scene")
    held_out = split != "train" and rng.random() < HELD_OUT_SHARE
    bias = recipe.bias if split == "train" else 0.0
    scene = sample_scene(rng, held_out=held_out, bias=bias, max_objects=recipe.max_objects)
    # Low compression, which is several times as fast.
    with replacing(folder / "images" / f"{_name(split, number)}.png", binary=True) as file:
        render(scene, recipe.image_size).save(file, "PNG", compress_level=3)
    return scene


def _rng(recipe: SceneSettings, split: str, number: int, what: str) -> Random:
    return Random(f"{recipe.seed}/{split}/{number}/{what}")


def _name(split: str, number: int) -> str:
    return f"{split}-{number:06d}"


def _examples(recipe: SceneSettings, scene: Scene, split: str, number: int) -> Iterator[Example]:
    """The example with the captions of a scene, and those with a question each."""
    name, objects = _name(split, number), tuple(thing.name for thing in scene.objects)
    image, held_out = f"../images/{name}.png", {"held_out": scene.held_out}
    texts = captions(scene, _rng(recipe, split, number, "captions"))
    yield Example(name, name, image, texts, objects=objects, attributes={**held_out, "scene": scene.to_dict()})
    rng = _rng(recipe, split, number, "questions")
    found = generate_questions(scene, rng, recipe.questions, novel_kinds=split != "train")
    for place, question in enumerate(found, start=1):
        text, answers = question.text, (question.answer,) * ANNOTATORS
        kinds = question.kind, question.answer_type
        yield Example(f"{name}-{place}", name, image, (), text, answers, *kinds, objects, held_out)


def _rates(scenes: Sequence[Scene]) -> dict[str, Any]:
    """The number of scenes, and the fractions with held-out pairs and with the biased kinds, alone and together."""
    cause, effect = BIASED_KINDS
    shapes = [{thing.shape for thing in scene.objects} for scene in scenes]
    causes = [each for each in shapes if cause in each]
    return {
        "scenes": len(scenes),
        "held_out": _share(sum(scene.held_out for scene in scenes), len(scenes)),
        f"with_{cause}": _share(len(causes), len(scenes)),
        f"with_{effect}": _share(sum(effect in each for each in shapes), len(scenes)),
        f"{effect}_where_{cause}": _share(sum(effect in each for each in causes), len(causes)),
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


NAMES = ("Mia", "Tom", "Ada", "Ben", "Eva", "Leo", "Zoe", "Max")

_QUESTIONS = 3  # most questions of a paragraph


def paragraphs(count: int, seed: int = 0) -> Iterator[str]:
    """Random paragraphs; a smaller `count` gives the first of them."""
    for number in range(count):
        yield paragraph(Random(f"{seed} prose {number}"))


def paragraph(rng: Random) -> str:
    """One paragraph about a random scene."""
    scene = sample_scene(rng)
    describer, asker = rng.sample(NAMES, 2)
    (caption,) = captions(scene, rng, 1)
    sentences = [f"{describer} looks at a picture.", f'"{_capital(caption)}," says {describer}.']
    for question in generate_questions(scene, rng, rng.randint(1, _QUESTIONS)):
        sentences.append(f'"{_capital(question.text)}?" asks {asker}.')
        sentences.append(f'"{_capital(question.answer)}," says {describer}.')
    return " ".join(sentences)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]

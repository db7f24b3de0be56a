"""Dose and response: hallucination and use of the image as functions of a co-occurrence bias in the training data, of
rings with stars.

A causal measurement, since the bias is set: scenes that differ only in the bias of `vlrnn.data.synthetic.dataset` train
the quickstart's captioner and classifier over one frozen CNN, pretrained without bias. All are tested on the same
balanced scenes, on these with the pictures of other scenes, and by polls: the number of rings where there is a star and
no ring. The control is another shape, which the bias does not affect.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vlrnn.data.batches import derangement
from vlrnn.data.records import Example, open_split, write_dataset
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.data.synthetic.questions import ANNOTATORS, how_many
from vlrnn.errors import UserError
from vlrnn.metrics.statistics import Floats, Resampler, interval
from vlrnn.probes.finding import TELLING, Finding
from vlrnn.probes.scene_truth import scene_of
from vlrnn.progress import print_progress
from vlrnn.runs import is_scored
from vlrnn.studies import jobs
from vlrnn.studies.dose_measures import CAUSE, CONTROL, EFFECT, measure_answers, measure_captions, tempts
from vlrnn.studies.fitting import require_least

RECIPES = ("captioning", "classifier_vqa")


@dataclass(frozen=True)
class DoseResponsePlan:
    """The models: every task at every bias with every seed.

    Args:
        biases: rates at which a ring is added to scenes with a star; the first is 0, at most 1.
        seeds: models of each task at each bias.
        train: training scenes of each bias.
        test: balanced test scenes.
        seed: the first.
        epochs: of the captioner, or a fraction of one. Fully trained, it hallucinates nothing at any bias; the
            effect of a bias is measurable before.
    """

    biases: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)
    seeds: int = 3
    train: int = 6000
    test: int = 1500
    seed: int = 0
    epochs: float = 0.5

    def __post_init__(self) -> None:
        if len(self.biases) < 2 or list(self.biases) != sorted(set(self.biases)) or self.biases[0] != 0:
            raise UserError("biases must increase from 0")
        if self.biases[-1] > 1:
            raise UserError(f"biases lie between 0 and 1, not {self.biases[-1]}")
        if not (0 < self.epochs < 1 or (self.epochs >= 1 and self.epochs == int(self.epochs))):
            raise UserError(f"epochs must be a whole number, or a fraction of one, not {self.epochs}")
        require_least(self, seeds=1, train=1, test=1)


def dose_response(
    out: str | Path, plan: DoseResponsePlan, *, resamples: int = 1000, overwrite: bool = False
) -> Finding:
    """How much does a correlation of objects in the training data increase hallucination? Results in the folder
    of an earlier call with the same plan are not computed again.

    Args:
        out: the folder; gets `cnn.safetensors`, `bias-B/scenes`, `test/`, and `runs/` with a run folder for each model.
        plan: the models.
        resamples: of the bootstrap over seeds and scenes.
        overwrite: first move the folder's content aside.

    Returns:
        for each task and bias the shares, in 0..1: `ring`, of scenes with a star and no ring in which one is
        hallucinated; `triangle`, the control; `excess`, the difference; `right`; of captions `objects`, the F1 of the
        named objects; `grounding`, the loss of `right`, of captions of `objects`, with the picture of another scene.
        `rise` is the difference of the largest bias and none.

    Raises:
        UserError: the folder holds another plan.
    """
    out = Path(out)
    jobs.keep_plan(out, asdict(plan) | {"biases": list(plan.biases)}, overwrite=overwrite)
    print_progress("scenes, and a CNN pretrained on those without bias")
    folders = {bias: out / f"bias-{bias:g}" for bias in plan.biases}
    cnn = out / "cnn.safetensors"
    _prepare(out, plan, folders, cnn)
    models = [(task, bias, seed) for task in RECIPES for bias in plan.biases for seed in range(plan.seeds)]
    left = []
    for task, bias, seed in models:
        run = _run(out, task, bias, seed)
        tests = _tests(run, out)
        if not all(is_scored(test, "test") for test in tests):
            left.append((run, _recipe(task, folders[bias], cnn, plan, seed), tests))
    jobs.run_all(jobs.train_and_test, left, "training", "models")
    return _measure_all(out, plan, resamples)


def _prepare(out: Path, plan: DoseResponsePlan, folders: Mapping[float, Path], cnn: Path) -> None:
    """Make the scenes and the CNN, unless they exist."""
    _make_scenes(folders[0.0], plan, 0.0)
    with jobs.two_processes() as pool:
        work: list[Future[Any]] = []
        if not cnn.exists():  # first, as it takes longest
            work.append(pool.submit(jobs.pretrain_cnn, folders[0.0] / "scenes", cnn, plan.seed, 4))
        work += [pool.submit(_make_scenes, folder, plan, bias) for bias, folder in folders.items()]
        work.append(pool.submit(make_tests, out / "test", plan))
        for each in work:
            each.result()


def _make_scenes(folder: Path, plan: DoseResponsePlan, bias: float) -> None:
    if not (folder / "scenes" / "captions" / "dataset.json").exists():  # which is written last
        size: dict[str, Any] = {"train": plan.train, "val": 200, "test": 0, "image_size": jobs.IMAGE_SIZE}
        make_scenes(folder / "scenes", **size, seed=plan.seed, bias=bias, workers=1 if bias else 2)


def make_tests(folder: Path, plan: DoseResponsePlan) -> None:
    """Make balanced scenes, the same with the pictures of other scenes, and the polls, which are written last."""
    if (folder / "polls" / "dataset.json").exists():
        return
    make_scenes(folder, train=0, val=0, test=plan.test, seed=plan.seed, image_size=jobs.IMAGE_SIZE, workers=1)
    about: dict[str, Any] = {"source": "vlrnn.studies.dose_response", "licence": "CC0-1.0"}
    for kind in ("captions", "vqa"):
        pictures = {example.image_id: example.image for example in open_split(folder / kind, "test")}
        others = derangement(pictures, plan.seed)
        examples = open_split(folder / kind, "test")
        swapped = [replace(example, image=pictures[others[example.image_id]]) for example in examples]
        write_dataset(folder / f"{kind}-strangers", {"test": swapped}, name=f"{kind}, somebody else's picture", **about)
    polls = [poll for scene in open_split(folder / "captions", "test") for poll in _polls(scene)]
    write_dataset(folder / "polls", {"test": polls}, name="how many, where there is none", **about)


def _polls(scene: Example) -> list[Example]:
    """Questions after the number of an absent shape; the right answer is none."""
    questions = {shape: how_many(shape, scene_of(scene)) for shape in (EFFECT, CONTROL) if tempts(scene, shape)}
    return [
        Example(
            id=f"{scene.id}-{shape}",
            image_id=scene.image_id,
            image=scene.image,
            question=question.text,
            answers=(question.answer,) * ANNOTATORS,
            question_type=shape,
            answer_type=question.answer_type,
        )
        for shape, question in questions.items()
    ]


def _recipe(task: str, folder: Path, cnn: Path, plan: DoseResponsePlan, seed: int) -> jobs.Recipe:
    """The recipe of the quickstart; the captioner's with the epochs of the plan."""
    recipe = jobs.scene_recipe(task, folder, cnn, plan.seed + seed)
    if task == "captioning":
        share = {"limit_train_batches": plan.epochs} if plan.epochs < 1 else {}
        recipe["trainer"] |= {"max_epochs": max(1, int(plan.epochs)), **share}
    return recipe


def _run(out: Path, task: str, bias: float, seed: int) -> Path:
    return out / "runs" / f"{task}-bias-{bias:g}-seed-{seed}"


def _tests(run: Path, out: Path) -> dict[Path, Path]:
    """Run folder -> data set, of the tests of a run."""
    kind = "captions" if run.name.startswith("captioning") else "vqa"
    tests = {run: out / "test" / kind, run / "strangers": out / "test" / f"{kind}-strangers"}
    return tests if kind == "captions" else tests | {run / "polls": out / "test" / "polls"}


def _measure_all(out: Path, plan: DoseResponsePlan, resamples: int) -> Finding:
    scenes = list(open_split(out / "test" / "captions", "test"))
    resampler = Resampler(len(scenes), resamples, plan.seed)
    scores: dict[str, Any] = {}
    hallucinated = {task: np.zeros(len(scenes)) for task in RECIPES}
    for task in RECIPES:
        doses = {}
        for place, bias in enumerate(plan.biases):
            runs = [_run(out, task, bias, seed) for seed in range(plan.seeds)]
            measured = (
                measure_captions(runs, scenes) if task == "captioning" else measure_answers(runs, scenes, out / "test")
            )
            # The same scenes are drawn for all, but not the same models.
            shares = {name: each.share(resampler, (plan.seed, place)) for name, each in measured.items()}
            shares["excess"] = shares[EFFECT].less(shares[CONTROL])
            shares["grounding"] = shares.get("objects", shares["right"]).less(shares.pop("strangers"))
            doses[f"bias {bias:g}"] = shares
            hallucinated[task] = measured[EFFECT].hits.mean(0)  # in the end those of the largest bias
        first, *_, last = doses.values()
        doses["rise"] = {name: last[name].less(first[name]) for name in first}
        scores[task] = {
            title: {name: interval(*share) for name, share in shares.items()} for title, shares in doses.items()
        }
    return Finding(
        scores,
        settings=asdict(plan) | {"cause": CAUSE, "effect": EFFECT, "control": CONTROL},
        cases=_most_hallucinated(scenes, hallucinated),
    )


def _most_hallucinated(scenes: Sequence[Example], hallucinated: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """The scenes in which most models of the largest bias hallucinate the effect, with the share of each task's."""
    total = np.sum(list(hallucinated.values()), 0)
    order = [place for place in np.argsort(-total, kind="stable") if total[place] > 0]
    return [
        {
            "id": scenes[place].id,
            "there": list(scenes[place].objects or ()),
            f"{EFFECT} made up by": {task: f"{share[place]:.0%}" for task, share in hallucinated.items()},
        }
        for place in order[:TELLING]
    ]

"""Does the output of a model depend on the image, and on the question? Scores lost where either is removed or changed.

The ladder of baselines (prior, per question type, question only, image only) is that of Antol et al., VQA, ICCV 2015;
the image of another example is from Elliott, Adversarial evaluation of multimodal machine translation, EMNLP 2018;
questions cut short from Agrawal, Batra, Parikh, Analyzing the behavior of visual question answering models, EMNLP 2016.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlrnn.data.batches import View, constant_image, derangement, first_words, shuffled_words, swapped_images
from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.records import Example, Id, Prediction, RecordFile, open_split
from vlrnn.errors import UserError
from vlrnn.inference.predictor import Predictor
from vlrnn.metrics import CaptionScorer
from vlrnn.metrics.statistics import Floats, MeansByImage, Scores, bootstrap_settings, commonest
from vlrnn.metrics.vqa import compare_answers
from vlrnn.probes.finding import TELLING, Finding
from vlrnn.probes.model.encoded_split import EncodedSplit, encoded, open_predictor, predict_views
from vlrnn.runs import predictions_file
from vlrnn.text.tokenizers import CaptionTokenizer

FULL = "full"
OTHER = "other_image"
IMAGE_VIEWS = ("blank_image", OTHER, "mean_feature")
DRAWN = 3
"""Draws of each random view: swapped images and shuffled words."""

Scorer = Callable[[Mapping[Id, str]], dict[str, Floats]]
"""From id -> text to the scores [examples] by metric; empty without references."""


class Effect(NamedTuple):
    """The effect of a view on each example [examples], mean over its draws: the `score` by metric, if there are
    references; the share of draws that `changed` the text; and the `divergence` in nats, summed over words."""

    score: dict[str, Floats]
    changed: Floats
    divergence: Floats


def grounding(
    checkpoint: str | Path | Predictor,
    data: str | Path,
    split: str = "test",
    *,
    baseline: Sequence[str | Path] = (),
    cache: str | Path | None = None,
    device: str | None = None,
    trust: Sequence[str] = (),
    batch_size: int = 32,
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """How much does the output of a model depend on the image, and on the question?

    Args:
        checkpoint: of a captioner or a VQA model: a .ckpt file, or a folder written by vlrnn export.
        data: a prepared data set.
        split: of the data.
        baseline: folders of runs that were tested on the same examples.
        cache: for encoder outputs; by default a temporary folder.
        device: cpu, cuda, cuda:1, ...; by default a GPU if available.
        trust: allow classes of this package in the checkpoint, which runs its code; may be repeated.
        batch_size: images that are encoded at a time; it changes nothing else.
        resamples, seed: of the bootstrap over images; the seed also of what views draw.

    Returns:
        `full` and each view -> `accuracy` (percent) or `CIDEr` (0..10), and of a view also its `drop` from full,
        the share of texts that `changed` (0..1), and `kl`: KL(full || view) in nats, of the distribution over answers,
        or of the next word along the text predicted in full, mean over words.

    Raises:
        UserError: the data are not what the model is for, or a baseline was tested on others.
    """
    predictor = open_predictor(checkpoint, device, trust)
    with encoded(predictor, data, split, cache) as encoded_split:
        examples = encoded_split.examples
        score, not_computed = _scorer(examples, predictor.tokenizer)
        rows = {str(run): _predictions(run, split, examples) for run in baseline}
        views = _views(encoded_split, predictor.tokenizer, seed)
        predictions, words, effects = _predict_effects(predictor, encoded_split, views, score, batch_size)
    texts = {id: predictions[id].text for id in examples}
    full = score(texts)
    means = MeansByImage([example.image_id for example in examples.values()], resamples, seed)
    by_type = _by_type(examples, effects, full, means)
    ladder = _priors(Path(data), examples) | rows if full else {}
    if full and not rows:
        not_computed["blind"] = "needs runs of the same recipe without the image, or the question (--baseline)"
    settings = {"checkpoint": predictor.name, "data": str(data), "split": split, "n": len(examples)}
    settings |= {"images": means.count, "draws": {name: len(drawn) for name, drawn in views.items()}}
    settings |= {"kl": "KL(full || view), nats a word", **bootstrap_settings(resamples, seed)}
    return Finding(
        scores={FULL: means.of(full)} | {name: _view_scores(effects[name], full, words, means) for name in effects},
        settings=settings | {"decoding": next(iter(predictions.values())).settings},
        baselines={row: {FULL: means.of(score(each))} for row, each in ladder.items()},
        cases=_unchanged(examples, texts, full, effects[OTHER]),
        details={"drop_per_question_type": by_type},
        not_computed=not_computed,
        notes=_notes(effects, by_type),
    )


def _views(split: EncodedSplit, tokenizer: CaptionTokenizer, seed: int) -> dict[str, list[View]]:
    seeds = range(seed, seed + DRAWN)
    others = [derangement(split.image_index, each) for each in seeds]
    views = {
        "blank_image": [constant_image(split.blank)],
        OTHER: [swapped_images(each, split.regions) for each in others],
        "mean_feature": [constant_image(split.mean)],
    }
    if any(example.question is not None for example in split.examples.values()):
        longest = max(len(tokenizer.tokenize(example.question or "")) for example in split.examples.values())
        cuts = [1 << power for power in range(longest.bit_length()) if 1 << power < longest]
        views |= {f"first_{count}_words": [first_words(count)] for count in cuts}
        views["shuffled_words"] = [shuffled_words(each) for each in seeds]
    return views


def _scorer(examples: Mapping[Id, Example], tokenizer: CaptionTokenizer) -> tuple[Scorer, dict[str, str]]:
    """The metric of the examples; and the reason if there is none."""
    if any(example.captions for example in examples.values()):
        references = {id: example.captions for id, example in examples.items()}
        scorer = CaptionScorer(references, tokenizer=tokenizer)
        return lambda texts: {"CIDEr": scorer.score(texts).per_image["CIDEr"]}, {}
    if any(example.answers for example in examples.values()):
        return lambda texts: {"accuracy": compare_answers(texts, examples).per_question["accuracy"]}, {}
    return lambda texts: {}, {FULL: "the split has neither captions nor answers"}


def _predict_effects(
    predictor: Predictor, split: EncodedSplit, views: Mapping[str, Sequence[View]], score: Scorer, batch_size: int
) -> tuple[dict[Id, Prediction], Floats, dict[str, Effect]]:
    """The unperturbed predictions, the number of words [examples] of each, and the effect of each view, the mean over
    its draws."""
    named = {f"{name} {number}": view for name, drawn in views.items() for number, view in enumerate(drawn)}
    predictions, found = predict_views(predictor, split, named, batch_size)
    texts = {id: predictions[id].text for id in split.examples}
    effects = {}
    for name, drawn in views.items():
        draws = [found[f"{name} {number}"] for number in range(len(drawn))]
        changed = [[each.texts[id] != text for id, text in texts.items()] for each in draws]
        divergence = [[each.divergence[id] for id in texts] for each in draws]
        scores = [score(each.texts) for each in draws]
        means = {metric: np.mean([each[metric] for each in scores], 0) for metric in scores[0]}
        effects[name] = Effect(means, np.mean(changed, 0), np.mean(divergence, 0))
    return predictions, np.array([found[f"{OTHER} 0"].words[id] for id in texts]), effects


def _view_scores(effect: Effect, full: dict[str, Floats], words: Floats, means: MeansByImage) -> Scores:
    columns = dict(effect.score)
    for name, values in effect.score.items():
        columns["drop"] = full[name] - values
    return means.of(columns | {"changed": effect.changed}) | means.of({"kl": effect.divergence}, words)


def _by_type(
    examples: Mapping[Id, Example], effects: Mapping[str, Effect], full: dict[str, Floats], means: MeansByImage
) -> dict[str, Any]:
    """Question type -> view -> drop."""
    types = [example.question_type for example in examples.values()]
    drops = {view: full[name] - values for view, effect in effects.items() for name, values in effect.score.items()}
    named = sorted({each for each in types if each is not None}) if drops else []
    return {each: means.of(drops, members=np.array([float(each == other) for other in types])) for each in named}


def _predictions(run: str | Path, split: str, examples: Mapping[Id, Example]) -> dict[Id, str]:
    path = predictions_file(run, split)
    texts = {each.id: each.text for each in RecordFile(path, Prediction)}
    lacking, unknown = len(examples.keys() - texts.keys()), len(texts.keys() - examples.keys())
    if lacking or unknown:
        raise UserError(
            f"{path}: is not for the same examples: {lacking} are missing, {unknown} unknown; run vlrnn test on this "
            "split with that model"
        )
    return texts


def _priors(folder: Path, examples: Mapping[Id, Example]) -> dict[str, dict[Id, str]]:
    """Row -> the most frequent caption, or answer (also by question type), of the training split, if there is one."""
    data = VisionLanguageData(str(folder))
    if "train" not in data.splits:
        return {}
    if not data.has_questions:
        captions = Counter(caption for each in open_split(folder, "train") for caption in each.captions)
        return {"prior": dict.fromkeys(examples, commonest(captions))} if captions else {}
    prior = data.prior
    by_type = {id: commonest(prior.of(example.question_type)) for id, example in examples.items()}
    return {"prior": dict.fromkeys(examples, commonest(prior.overall)), "prior-per-type": by_type}


def _unchanged(
    examples: Mapping[Id, Example], texts: Mapping[Id, str], full: Mapping[str, Floats], other: Effect
) -> list[dict[str, Any]]:
    """Predictions that score above 0 and are the same under every other image, the smallest divergence first."""
    found = []
    for name, score in full.items():
        same = np.flatnonzero((other.changed == 0) & (score > 0))
        listed = list(examples.values())
        for place in same[np.lexsort((other.divergence[same], -score[same]))][:TELLING]:
            example, kl = listed[place], round(float(other.divergence[place]), 4)
            question = {"question": example.question} if example.question is not None else {}
            figures = {"said of any image": texts[example.id], name: round(float(score[place]), 2), "kl": kl}
            found.append({"id": example.id, **question, **figures})
    return found


def _notes(effects: Mapping[str, Effect], by_type: Mapping[str, Any]) -> list[str]:
    notes = [f"cases: right, and the same with another image in all {DRAWN} draws: the image may not be used"]
    if not any(effects[name].divergence.any() or effects[name].changed.any() for name in IMAGE_VIEWS):
        return [*notes, "the model does not use the image: no view of it changes an output"]
    unneeded = [each for each, drops in by_type.items() if drops[OTHER]["low"] <= 0]
    if unneeded:
        notes.append(f"question types without a significant drop with another image: {', '.join(unneeded)}")
    return notes

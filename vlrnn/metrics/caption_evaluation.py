"""Files in, everything about the captions out: what `vlrnn score captions` does."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlrnn.data.formats.captions import read_predictions, read_references
from vlrnn.data.formats.results import note_markup
from vlrnn.data.matching import GO_ON, Matched, Missing, in_common, match
from vlrnn.data.records import Prediction
from vlrnn.files import replacing, write_json
from vlrnn.metrics.captions import CaptionScorer, CaptionScores, compare
from vlrnn.metrics.diversity import caption_health, mutual_bleu
from vlrnn.metrics.meteor_spice import JavaScore, NotComputedError, meteor, spice
from vlrnn.metrics.references import Tokens
from vlrnn.metrics.statistics import Resampler, interval
from vlrnn.text.text_checks import count_unspaced, warn_of_unspaced
from vlrnn.text.tokenizers import WORDS, CaptionTokenizer

_JAVA: dict[str, Callable[[Sequence[Tokens], Sequence[Sequence[Tokens]], Resampler], JavaScore]] = {
    "METEOR": meteor,
    "SPICE": spice,
}
_MOST_ALTERNATIVES = 100  # each is compared with each other
ORDER = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "SPICE")
"""The scores in the order in which the field's tables have them."""


@dataclass
class Evaluation:
    """The result of scoring a file. `scores` and `comparison` are name -> value with interval; `health` name
    -> number; `not_computed` name -> why; `notes` what was put right about the ids."""

    scores: dict[str, dict[str, float | int]]
    health: dict[str, float | int]
    settings: dict[str, Any]
    not_computed: dict[str, str]
    notes: list[str]
    per_image: list[dict[str, Any]] = field(repr=False)
    comparison: dict[str, dict[str, float | int]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write all but the single images as JSON."""
        value: dict[str, Any] = {"scores": self.scores, "settings": self.settings, "health": self.health}
        value |= {"not_computed": self.not_computed, "notes": self.notes}
        if self.comparison:
            value["comparison"] = self.comparison
        write_json(path, value)

    def write_per_image(self, path: Path) -> None:
        """Write a JSON line for each image: its id, its caption and its scores."""
        with replacing(path) as file:
            for entry in self.per_image:
                file.write(json.dumps(entry) + "\n")


def evaluate_captions(
    references: str | Path,
    predictions: str | Path,
    other: str | Path | None = None,
    *,
    split: str | None = None,
    missing: Missing = "error",
    training: str | Path | None = None,
    document_frequency: str | Path | None = None,
    tokenizer: CaptionTokenizer = WORDS,
    java: bool = True,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score a file of captions.

    Args:
        references, predictions: the files, of any form that `vlrnn.data.formats` reads.
        other: predictions of another system, to be compared in pairs on the same images.
        split: of Karpathy's JSON.
        missing: what becomes of ids that do not match, see `vlrnn.data.matching.match`.
        training: references of the training split, to tell which captions are new.
        document_frequency: references of another corpus, for CIDEr.
        tokenizer: cuts captions into what is compared.
        java: whether to run METEOR and SPICE, where they are there.
        resamples, seed: of the bootstrap.

    Raises:
        UserError: a file is wrong, ids do not match, or there are too few images.
    """
    given = read_references(references, split)
    matched = match(read_predictions(predictions), given, missing, str(predictions), hint=GO_ON, files=given.files)
    matched_other = None
    if other is not None:
        matched_other = match(read_predictions(other), given, missing, str(other), hint=GO_ON, files=given.files)
        matched, matched_other = in_common(matched, matched_other, "images that both systems have captions of")
    corpus = read_references(document_frequency, "train") if document_frequency else None
    scorer = CaptionScorer(matched.references, corpus, tokenizer)
    scores = scorer.score(_texts(matched))
    resampler = Resampler(len(scores), resamples, seed)

    computed = scores.with_intervals(resamples, seed)
    per_image = {name: values.tolist() for name, values in scores.per_image.items()}
    not_computed = {}
    for name, score in _JAVA.items():
        try:
            if not java:
                raise NotComputedError("left out by --no-java")
            if tokenizer is not WORDS:
                raise NotComputedError(f"is of words, not of {tokenizer.unit}")
            found = score(scores.tokens, scorer.references, resampler)
        except NotComputedError as reason:
            not_computed[name] = str(reason)
        else:
            computed[name] = interval(found.value, found.samples, len(scores))
            per_image[name] = found.per_image.tolist()

    notes = given.notes + matched.notes + (matched_other.notes if matched_other else []) + list(scores.notes)
    notes += _unspaced(matched, tokenizer) + note_markup(_texts(matched))
    trained = None if training is None else tokenizer.tokens_for_scores(_captions(training))
    health = caption_health(scores.tokens, trained)
    sets = [group for group in map(_all_texts, matched.predictions.values()) if len(group) > 1]
    if sets:
        health["mBLEU_4"] = mutual_bleu([tokenizer.tokens_for_scores(group[:_MOST_ALTERNATIVES]) for group in sets])
        if cut := sum(len(group) > _MOST_ALTERNATIVES for group in sets):
            notes.append(f"mBLEU_4: of {cut} images only the first {_MOST_ALTERNATIVES} captions are compared")
    else:
        not_computed["mBLEU_4"] = "needs several captions of an image ('alternatives')"
    if trained is None:
        not_computed["novel"] = "needs the captions trained on (--training)"

    result = Evaluation(
        scores={name: computed[name] for name in ORDER if name in computed},
        health=health,
        settings={
            **scores.settings,
            "document_frequency": str(document_frequency or "the references"),
            "references": str(references),
            "predictions": str(predictions),
            "split": split,
            "missing": missing,
            "ids": matched.counts,
            "matched_by": matched.rules,
            "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95},
            "decoding": decoding(matched.predictions.values()),
        },
        not_computed=not_computed,
        notes=notes,
        per_image=_lines(scores, matched, per_image),
    )
    if matched_other:
        result.comparison = compare(scores, scorer.score(_texts(matched_other)), resamples, seed)
        result.settings["compared_with"] = str(other)
    return result


def _texts(matched: Matched) -> dict[int | str, str]:
    return {id: prediction.text for id, prediction in matched.predictions.items()}


def _unspaced(matched: Matched, tokenizer: CaptionTokenizer) -> list[str]:
    """A warning where words are no units of the references."""
    counts = count_unspaced(caption for captions in matched.references.values() for caption in captions)
    warning = warn_of_unspaced(*counts, "references", "give --tokenizer characters") if tokenizer is WORDS else None
    return [warning] if warning else []


def _captions(path: str | Path) -> list[str]:
    return [caption for captions in read_references(path, "train").values() for caption in captions]


def _all_texts(prediction: Prediction) -> list[str]:
    """All texts that a model predicted for an image."""
    others = (each.get("text") for each in prediction.alternatives)
    return [prediction.text, *(text for text in others if isinstance(text, str))]


def decoding(predictions: Iterable[Prediction]) -> dict[str, Any] | None:
    """How predictions were decoded, where they record it and agree."""
    settings = [prediction.settings for prediction in predictions]
    return dict(settings[0]) if settings[0] and all(each == settings[0] for each in settings) else None


def _lines(scores: CaptionScores, matched: Matched, per_image: dict[str, list[float]]) -> list[dict[str, Any]]:
    return [
        {"image_id": id, "caption": matched.predictions[id].text}
        | {name: per_image[name][place] for name in ORDER if name in per_image}
        for place, id in enumerate(scores.ids)
    ]

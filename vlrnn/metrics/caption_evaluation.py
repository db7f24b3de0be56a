"""Evaluation of caption files: `vlrnn score captions`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vlrnn.data.formats.base import References
from vlrnn.data.formats.captions import read_predictions, read_references
from vlrnn.data.formats.results import note_markup
from vlrnn.data.matching import GO_ON, Matched, Missing, in_common, match
from vlrnn.data.records import Prediction
from vlrnn.files import replacing, write_json
from vlrnn.metrics.captions import CaptionScorer, CaptionScores
from vlrnn.metrics.captions import compare as compare_scores
from vlrnn.metrics.diversity import caption_health, mutual_bleu
from vlrnn.metrics.meteor_spice import JavaScore, NotComputedError, meteor, spice
from vlrnn.metrics.references import Tokens
from vlrnn.metrics.statistics import Resampler, bootstrap_settings, interval
from vlrnn.text.tokenizers import WORDS, CaptionTokenizer, caption_tokenizer, count_unspaced, warn_of_unspaced

_JAVA: dict[str, Callable[[Sequence[Tokens], Sequence[Sequence[Tokens]], Resampler], JavaScore]] = {
    "METEOR": meteor,
    "SPICE": spice,
}
_MOST_ALTERNATIVES = 100  # captions of an image that are compared pairwise
ORDER = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "SPICE")
"""The scores in the usual order of tables."""


@dataclass
class Evaluation:
    """The result of scoring a file. `scores` and `comparison`: name -> value with interval; `health`: name -> number;
    `not_computed`: name -> reason; `notes`: a line for each correction of ids."""

    scores: dict[str, dict[str, float | int]]
    health: dict[str, float | int]
    settings: dict[str, Any]
    not_computed: dict[str, str]
    notes: list[str]
    per_image: list[dict[str, Any]] = field(repr=False)
    comparison: dict[str, dict[str, float | int]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the results without those of single images as JSON."""
        value: dict[str, Any] = {"scores": self.scores, "settings": self.settings, "health": self.health}
        value |= {"not_computed": self.not_computed, "notes": self.notes}
        if self.comparison:
            value["comparison"] = self.comparison
        write_json(path, value)

    def write_items(self, path: Path) -> None:
        """Write a JSON line for each image: its id, its caption and its scores."""
        with replacing(path) as file:
            for entry in self.per_image:
                file.write(json.dumps(entry) + "\n")


def evaluate_captions(
    references: str | Path,
    predictions: str | Path,
    compare: str | Path | None = None,
    *,
    split: str | None = None,
    missing: Missing = "error",
    training: str | Path | None = None,
    document_frequency: str | Path | None = None,
    tokenizer: Literal["words", "characters"] = "words",
    java: bool = True,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score captions as the official COCO caption scorer does (BLEU, ROUGE-L, CIDEr-D, METEOR, SPICE), with confidence
    intervals, and the health of captions.

    Args:
        references: prepared .jsonl, captions of COCO or VizWiz, Karpathy's JSON, or image id -> captions.
        predictions: predictions.jsonl, a file of vlrnn caption --out, or COCO results (image_id, caption).
        compare: predictions of another system, for a paired comparison on the common images.
        split: the split of Karpathy's JSON.
        missing: ids that are missing, unknown or duplicate: refuse, score the rest, or score a missing one as empty.
        training: the captions trained on, to count which predictions are new (of Karpathy's: train).
        document_frequency: CIDEr's document frequencies from this corpus, not from the references.
        tokenizer: what is compared; characters for scripts without spaces between words.
        java: METEOR and SPICE, if they are installed.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Raises:
        UserError: a file is invalid, ids do not match, or there are too few images.
    """
    units, given = caption_tokenizer(tokenizer), read_references(references, split)
    matched, matched_other = _matched(given, predictions, missing), None
    if compare is not None:
        theirs = _matched(given, compare, missing)
        matched, matched_other = in_common(matched, theirs, "images for which both systems have captions")
    corpus = read_references(document_frequency, "train") if document_frequency else None
    scorer = CaptionScorer(matched.references, corpus, units)
    scores = scorer.score(_texts(matched))
    settings = {**scores.settings, "document_frequency": str(document_frequency or "the references")}
    settings |= match_settings(references, predictions, missing, matched)
    result = Evaluation(
        scores=scores.with_intervals(resamples, seed),
        health={},
        settings={**settings, "split": split, **bootstrap_settings(resamples, seed)},
        not_computed={},
        notes=[*given.notes, *matched.notes, *(matched_other.notes if matched_other else ()), *scores.notes],
        per_image=[],
    )
    result.notes += _unspaced(matched, units) + note_markup(_texts(matched))
    per_image = _add_java_scores(result, scores, scorer, Resampler(len(scores), resamples, seed), java)
    result.per_image = _lines(scores, matched, per_image)
    _add_health(result, matched, scores, units, training)
    if matched_other:
        result.comparison = compare_scores(scores, scorer.score(_texts(matched_other)), resamples, seed)
        result.settings["compared_with"] = str(compare)
    return result


def _matched(references: References, predictions: str | Path, missing: Missing) -> Matched:
    read = read_predictions(predictions)
    return match(read, references, missing, str(predictions), hint=GO_ON, files=references.files)


def _add_java_scores(
    result: Evaluation, scores: CaptionScores, scorer: CaptionScorer, resampler: Resampler, java: bool
) -> dict[str, list[float]]:
    """Add METEOR and SPICE; returns the scores of each image, of all metrics."""
    per_image = {name: values.tolist() for name, values in scores.per_image.items()}
    for name, score in _JAVA.items():
        try:
            if not java:
                raise NotComputedError("left out by --no-java")
            if scorer.tokenizer is not WORDS:
                raise NotComputedError(f"is for words, not for {scorer.tokenizer.name}")
            found = score(scores.tokens, scorer.references, resampler)
        except NotComputedError as reason:
            result.not_computed[name] = str(reason)
        else:
            result.scores[name] = interval(found.value, found.samples, len(scores))
            per_image[name] = found.per_image.tolist()
    result.scores = {name: result.scores[name] for name in ORDER if name in result.scores}
    return per_image


def _add_health(
    result: Evaluation,
    matched: Matched,
    scores: CaptionScores,
    tokenizer: CaptionTokenizer,
    training: str | Path | None,
) -> None:
    references = {} if training is None else read_references(training, "train")
    trained = (
        tokenizer.tokens_for_scores([text for texts in references.values() for text in texts]) if references else None
    )
    result.health = caption_health(scores.tokens, trained)
    sets = [group for group in map(_all_texts, matched.predictions.values()) if len(group) > 1]
    if sets:
        shown = [tokenizer.tokens_for_scores(group[:_MOST_ALTERNATIVES]) for group in sets]
        result.health["mBLEU_4"] = mutual_bleu(shown)
        if cut := sum(len(group) > _MOST_ALTERNATIVES for group in sets):
            result.notes.append(f"mBLEU_4: of {cut} images only the first {_MOST_ALTERNATIVES} captions are compared")
    else:
        result.not_computed["mBLEU_4"] = "needs several captions per image ('alternatives')"
    if trained is None:
        result.not_computed["novel"] = "needs the training captions (--training)"


def _texts(matched: Matched) -> dict[int | str, str]:
    return {id: prediction.text for id, prediction in matched.predictions.items()}


def _unspaced(matched: Matched, tokenizer: CaptionTokenizer) -> list[str]:
    """A warning if the references are written without spaces and scored by words."""
    counts = count_unspaced(caption for captions in matched.references.values() for caption in captions)
    warning = warn_of_unspaced(*counts, "references", "give --tokenizer characters") if tokenizer is WORDS else None
    return [warning] if warning else []


def _all_texts(prediction: Prediction) -> list[str]:
    """The text of a prediction and its alternatives."""
    others = (each.get("text") for each in prediction.alternatives)
    return [prediction.text, *(text for text in others if isinstance(text, str))]


def match_settings(
    references: str | Path, predictions: str | Path, missing: str, matched: Matched[Any]
) -> dict[str, Any]:
    """The settings of a result that describe its files and their matching."""
    first, *others = (dict(prediction.settings) for prediction in matched.predictions.values())
    return {
        "references": str(references),
        "predictions": str(predictions),
        "missing": missing,
        "ids": matched.counts,
        "matched_by": matched.rules,
        "decoding": first if first and all(each == first for each in others) else None,
    }


def _lines(scores: CaptionScores, matched: Matched, per_image: dict[str, list[float]]) -> list[dict[str, Any]]:
    return [
        {"image_id": id, "caption": matched.predictions[id].text}
        | {name: per_image[name][place] for name in ORDER if name in per_image}
        for place, id in enumerate(scores.ids)
    ]

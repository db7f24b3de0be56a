"""Evaluation of caption files, `vlrnn score captions`; diversity of captions, and defects of generated text."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vlrnn.data.formats.base import References
from vlrnn.data.formats.captions import read_predictions, read_references
from vlrnn.data.formats.results import note_markup
from vlrnn.data.matching import GO_ON, Matched, Missing, in_common, match
from vlrnn.files import replacing, write_json
from vlrnn.metrics.caption_measures import BLEU_NAMES, bleu, bleu_statistics
from vlrnn.metrics.captions import CaptionScorer, CaptionScores
from vlrnn.metrics.captions import compare as compare_scores
from vlrnn.metrics.meteor_spice import JavaScore, NotComputedError, meteor, spice
from vlrnn.metrics.ngrams import NgramIndex, ReferenceTable, Tokens
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
    """The result of scoring a file of captions or answers. `scores` and `comparison`: name -> value with interval, by
    type in groups; `health`, of captions: name -> number; `not_computed`: name -> reason; `notes`: a line for each
    correction of ids; `items`: of each image or question its id, its text and its scores."""

    scores: dict[str, Any]
    settings: dict[str, Any]
    not_computed: dict[str, str]
    notes: list[str]
    items: Iterable[Mapping[str, Any]] = field(default=(), repr=False)
    health: dict[str, float | int] = field(default_factory=dict)
    comparison: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the results without those of single items as JSON."""
        value = {name: getattr(self, name) for name in ("scores", "settings", "health", "not_computed", "notes")}
        if not self.health:
            del value["health"]
        write_json(path, value | ({"comparison": self.comparison} if self.comparison else {}))

    def write_items(self, path: Path) -> None:
        """Write a JSON line for each item."""
        with replacing(path) as file:
            file.writelines(json.dumps(item) + "\n" for item in self.items)


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
    scores = scorer.score(matched.texts)
    settings = {**scores.settings, "document_frequency": str(document_frequency or "the references")}
    settings |= match_settings(references, predictions, missing, matched)
    result = Evaluation(
        scores=scores.with_intervals(resamples, seed),
        settings={**settings, "split": split, **bootstrap_settings(resamples, seed)},
        not_computed={},
        notes=[*given.notes, *matched.notes, *(matched_other.notes if matched_other else ()), *scores.notes],
    )
    if units is WORDS:
        counts = count_unspaced(caption for captions in matched.references.values() for caption in captions)
        result.notes += filter(None, [warn_of_unspaced(*counts, "references", "give --tokenizer characters")])
    result.notes += note_markup(matched.texts)
    _add_java_scores(result, matched, scores, scorer, java)
    _add_health(result, matched, scores, units, training)
    if matched_other:
        result.comparison = compare_scores(scores, scorer.score(matched_other.texts), resamples, seed)
        result.settings["compared_with"] = str(compare)
    return result


def _matched(references: References, predictions: str | Path, missing: Missing) -> Matched:
    read = read_predictions(predictions)
    return match(read, references, missing, str(predictions), hint=GO_ON, files=references.files)


def _add_java_scores(
    result: Evaluation, matched: Matched, scores: CaptionScores, scorer: CaptionScorer, java: bool
) -> None:
    """Add METEOR and SPICE, and the scores of each image, of all metrics."""
    per_image = {name: values.tolist() for name, values in scores.per_image.items()}
    bootstrap = result.settings["bootstrap"]
    resampler = Resampler(len(scores), bootstrap["resamples"], bootstrap["seed"])
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
    names = [name for name in ORDER if name in result.scores]
    result.scores = {name: result.scores[name] for name in names}
    result.items = [
        {"image_id": id, "caption": prediction.text, **{name: per_image[name][place] for name in names}}
        for place, (id, prediction) in enumerate(matched.predictions.items())
    ]


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
    sets = []
    for prediction in matched.predictions.values():
        others = [text for each in prediction.alternatives if isinstance(text := each.get("text"), str)]
        sets += [[prediction.text, *others]] if others else []
    if sets:
        shown = [tokenizer.tokens_for_scores(group[:_MOST_ALTERNATIVES]) for group in sets]
        result.health["mBLEU_4"] = mutual_bleu(shown)
        if cut := sum(len(group) > _MOST_ALTERNATIVES for group in sets):
            result.notes.append(f"mBLEU_4: of {cut} images only the first {_MOST_ALTERNATIVES} captions are compared")
    else:
        result.not_computed["mBLEU_4"] = "needs several captions per image ('alternatives')"
    if trained is None:
        result.not_computed["novel"] = "needs the training captions (--training)"


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


FUNCTION_WORDS = frozenset(
    """a an the and or but of in on at to from with by for as than that which who whose is are was were be
    been being has have had its his her their this these those some very while next into onto over under near
    between through behind above below beside along around across""".split()  # noqa: SIM905
)
"""Words with which no caption should end: articles, conjunctions, prepositions, auxiliaries. Our own list."""


def distinct(captions: Sequence[Tokens], order: int) -> float:
    """distinct-n: number of distinct n-grams divided by that of all n-grams, 0..1 (Li et al., NAACL 2016, section
    5)."""
    rows = NgramIndex.of(captions)[1][order - 1]
    total = int(rows.times.sum())
    return len(np.unique(rows.ngram)) / total if total else 0.0


def mutual_bleu(sets: Sequence[Sequence[Tokens]]) -> float:
    """mBLEU-4: the mean BLEU-4 of each caption of an image against the other captions of that image, 0..1; lower is
    more diverse (Shetty et al., ICCV 2017, section 5.1).

    Args:
        sets: for each image, at least two captions by the same model.
    """
    captions = [caption for group in sets for caption in group]
    others = [[other for j, other in enumerate(group) if j != i] for group in sets for i in range(len(group))]
    table = ReferenceTable(others)
    lengths = np.fromiter(map(len, captions), np.int64)
    scores = bleu(*bleu_statistics(table, table.index.count(captions), lengths))
    return float(scores[:, BLEU_NAMES.index("Bleu_4")].mean())


def caption_health(captions: Sequence[Tokens], training: Iterable[Tokens] | None = None) -> dict[str, float | int]:
    """Measures of a set of captions, one per image.

    Args:
        captions: their tokens, at least one caption.
        training: the tokens of the training captions, for `novel`.

    Returns:
        `distinct_1`, `distinct_2`; `vocabulary`, the number of distinct words; `mean_length` in words; and as fractions
        of the captions: `distinct_captions`, `empty`, `ends_badly` (with a function word), `repeated_word` (twice in a
        row), `repeated_trigram` (anywhere), `novel` (no training caption).
    """
    texts = [tuple(caption) for caption in captions]
    trigrams = [list(zip(text, text[1:], text[2:], strict=False)) for text in texts]
    health: dict[str, float | int] = {
        "distinct_1": distinct(captions, 1),
        "distinct_2": distinct(captions, 2),
        "vocabulary": len({word for text in texts for word in text}),
        "mean_length": sum(map(len, texts)) / len(texts),
        "distinct_captions": len(set(texts)) / len(texts),
        "empty": _share(not text for text in texts),
        "ends_badly": _share(bool(text) and text[-1] in FUNCTION_WORDS for text in texts),
        "repeated_word": _share(any(word == following for word, following in pairwise(text)) for text in texts),
        "repeated_trigram": _share(len(set(each)) < len(each) for each in trigrams),
    }
    if training is not None:
        training_set = set(map(tuple, training))
        health["novel"] = _share(text not in training_set for text in texts)
    return health


def _share(answers: Iterable[bool]) -> float:
    values = list(answers)
    return sum(values) / len(values)

"""Scores of captions: BLEU-1..4, ROUGE-L and CIDEr-D; comparison of two systems."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from typing import Any

import numpy as np

from vlrnn.data.records import Id, ScoredExample
from vlrnn.errors import UserError
from vlrnn.metrics.caption_measures import (
    BLEU_NAMES,
    LONGEST,
    BleuStatistics,
    CiderD,
    bleu,
    bleu_statistics,
    ngram_words,
    rouge_l,
)
from vlrnn.metrics.ngrams import ReferenceTable, Tokens
from vlrnn.metrics.statistics import Floats, Resampler, Scores, difference, interval
from vlrnn.text.ptb_tokenizer import LONGEST_TOKEN
from vlrnn.text.tokenizers import WORDS, CaptionTokenizer


@dataclass(frozen=True)
class CaptionScores:
    """The scores of one set of predictions.

    `ids` are the scored images, in the order of the references; `per_image` has the score of each [images] under the
    field's names, in 0..1 (CIDEr 0..10). BLEU of a corpus is not the mean over images: it is computed from the sums of
    `bleu_statistics`. `settings` describe what was scored and how; `tokens` are the predictions' tokens; `notes` name,
    one line each, what was cut.
    """

    ids: tuple[Id, ...]
    per_image: Mapping[str, Floats] = field(repr=False)
    bleu_statistics: BleuStatistics = field(repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict)
    tokens: Sequence[Tokens] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    @classmethod
    def of_items(cls, items: Sequence[ScoredExample]) -> "CaptionScores":
        """The scores that `items` gave, without their settings."""
        names = list(items[0].scores)[::-1]
        per_image = {name: np.array([each.scores[name] for each in items]) for name in names}
        correct, total, lengths = np.split(np.array([each.bleu_statistics for each in items]), [4, 8], axis=1)
        return cls(tuple(each.id for each in items), per_image, BleuStatistics(correct, total, *lengths.T))

    def items(self) -> Iterator[dict[str, Any]]:
        """The `scores`, CIDEr first, and `bleu_statistics` of each image, as `ScoredExample` has them."""
        names = list(self.per_image)[::-1]
        values = zip(*(self.per_image[name].tolist() for name in names), strict=True)
        for scores, statistics in zip(values, np.column_stack(self.bleu_statistics).tolist(), strict=True):
            yield {"scores": dict(zip(names, scores, strict=True)), "bleu_statistics": tuple(statistics)}

    @cached_property
    def corpus(self) -> dict[str, float]:
        """The scores over all images."""
        totals = (each.sum(axis=0) for each in self.bleu_statistics)
        scores = dict(zip(BLEU_NAMES, map(float, bleu(*totals)), strict=True))
        return scores | {name: float(each.mean()) for name, each in self.per_image.items() if name not in BLEU_NAMES}

    def __len__(self) -> int:
        return len(self.ids)

    def resampled(self, resampler: Resampler) -> dict[str, Floats]:
        """Each score on the resampled sets of images: name -> [resamples]."""
        means = [name for name in self.per_image if name not in BLEU_NAMES]
        columns = [*self.bleu_statistics, *(self.per_image[name] for name in means)]
        sums = resampler.sums(np.column_stack(columns))
        correct, total, length, reference_length = np.split(sums[:, :10], [4, 8, 9], axis=1)
        scores = dict(zip(BLEU_NAMES, bleu(correct, total, length[:, 0], reference_length[:, 0]).T, strict=True))
        return scores | {name: sums[:, 10 + place] / len(self) for place, name in enumerate(means)}

    def with_intervals(self, resamples: int = 1000, seed: int = 0) -> Scores:
        """The `scores` of a metrics.json: name -> `{"value", "low", "high", "n"}`, a 95 % bootstrap interval
        over images."""
        samples = self.resampled(Resampler(len(self), resamples, seed))
        return {name: interval(value, samples[name], len(self)) for name, value in self.corpus.items()}


class CaptionScorer:
    """Scores predictions against references that are tokenized and counted once.

    Args:
        references: image id -> its reference captions, at least one each.
        corpus: another corpus of references for the document frequencies of CIDEr; by default the references, as in the
            official scorer.
        tokenizer: of captions; by default that of the official scorer.

    `references` are their tokens, by image in the order of `ids`.

    Raises:
        UserError: fewer than two images, or an image without references.
    """

    def __init__(
        self,
        references: Mapping[Id, Sequence[str]],
        corpus: Mapping[Id, Sequence[str]] | None = None,
        tokenizer: CaptionTokenizer = WORDS,
    ) -> None:
        for id, captions in references.items():
            if not captions or isinstance(captions, str):
                raise UserError(f"image {id!r} needs a list of reference captions, at least one")
        documents = references if corpus is None else corpus
        if len(documents) < 2:
            raise UserError(
                f"CIDEr uses document frequencies, which need at least two images; there are {len(documents)}"
            )
        self.ids = tuple(references)
        self.tokenizer = tokenizer
        self.references = _tokenize_groups(references, tokenizer)
        tokenized = [self.references] if corpus is None else [self.references, _tokenize_groups(corpus, tokenizer)]
        self._table = ReferenceTable(*([list(map(ngram_words, group)) for group in groups] for groups in tokenized))
        self._cider = CiderD(self._table)
        texts = chain.from_iterable(references.values())
        self._notes = _notes(texts, chain.from_iterable(self.references), "references")
        self._settings = {
            "tokenizer": tokenizer.description,
            "n": len(self.ids),
            "references": len(self._table.lengths),
            "document_frequency": "references" if corpus is None else f"another corpus of {len(corpus)} images",
        }

    def score(self, predictions: Mapping[Id, str]) -> CaptionScores:
        """Score one caption per image.

        Args:
            predictions: image id -> caption, for exactly the images of the references.

        Raises:
            UserError: an image has no prediction, or no references.
        """
        check_same_ids(predictions, self.ids)
        tokens = self.tokenizer.tokens_for_scores([predictions[id] for id in self.ids])
        words = [ngram_words(each) for each in tokens]
        lengths = np.fromiter(map(len, words), np.int64)
        counts = self._table.index.count(words)
        statistics = bleu_statistics(self._table, counts, lengths)
        per_image = dict(zip(BLEU_NAMES, bleu(*statistics).T, strict=True))
        per_image["ROUGE_L"] = np.array(list(map(rouge_l, tokens, self.references)))
        per_image["CIDEr"] = self._cider.score(counts, lengths)
        notes = (*_notes([predictions[id] for id in self.ids], tokens, "predictions"), *self._notes)
        return CaptionScores(self.ids, per_image, statistics, self._settings, tokens, notes)


def score_captions(predictions: Mapping[Id, str], references: Mapping[Id, Sequence[str]]) -> CaptionScores:
    """BLEU-1..4, ROUGE-L and CIDEr-D of captions, equal to those of the official scorer. For repeated use of the same
    references, build a `CaptionScorer` once.

    Args:
        predictions: image id -> caption.
        references: image id -> its reference captions, at least one each.

    Raises:
        UserError: the ids differ, an image has no references, or there are fewer than two images.
    """
    check_same_ids(predictions, tuple(references))
    return CaptionScorer(references).score(predictions)


def check_same_ids(predictions: Mapping[Id, str], ids: Sequence[Id]) -> None:
    """Raise a UserError unless there are predictions for exactly these images."""
    missing = [id for id in ids if id not in predictions]
    if missing:
        raise UserError(f"{len(missing)} of {len(ids)} images have no prediction, the first is {missing[0]!r}")
    if len(predictions) > len(ids):
        wanted = set(ids)
        unknown = [id for id in predictions if id not in wanted]
        raise UserError(f"{len(unknown)} predictions are for images without references, the first is {unknown[0]!r}")


def _tokenize_groups(captions: Mapping[Id, Sequence[str]], tokenizer: CaptionTokenizer) -> list[list[list[str]]]:
    tokens = iter(tokenizer.tokens_for_scores(list(chain.from_iterable(captions.values()))))
    return [list(islice(tokens, len(group))) for group in captions.values()]


def _notes(captions: Iterable[str], tokens: Iterable[Tokens], name: str) -> list[str]:
    """Notes on texts that are truncated because they are longer than any caption."""
    long = [each for caption, each in zip(captions, tokens, strict=True) if len(caption) >= LONGEST_TOKEN]
    cut = sum(len(each) > LONGEST for each in long)
    split = sum(max(map(len, each), default=0) >= LONGEST_TOKEN for each in long)
    notes = [f"ROUGE_L: of {cut} {name} only the first {LONGEST:,} tokens are compared"] if cut else []
    if split:
        notes.append(f"{split} {name} have words of {LONGEST_TOKEN:,} characters and more, which are split")
    return notes


def compare(first: CaptionScores, second: CaptionScores, resamples: int = 1000, seed: int = 0) -> Scores:
    """The scores of the first system minus those of the second, by the paired bootstrap: both are resampled on the same
    sets of images.

    Returns:
        name -> `{"value", "low", "high", "n", "p"}`: the difference, its 95 % interval, and the two-sided p value of
        the hypothesis of no difference.

    Raises:
        UserError: the two were not scored on the same images.
    """
    if first.ids != second.ids:
        raise UserError("the two sets of predictions were not scored on the same images")
    resampler = Resampler(len(first), resamples, seed)
    samples, others = first.resampled(resampler), second.resampled(resampler)
    return {
        name: difference(value - second.corpus[name], samples[name] - others[name], len(first))
        for name, value in first.corpus.items()
    }

"""BLEU-1..4, ROUGE-L and CIDEr-D as the official caption scorer computes them; CIDEr-D as a reward.

Sources: Papineni et al., ACL 2002, sections 2.1 to 2.3 (BLEU); Lin, ACL workshop 2004, section 3.1 (ROUGE-L); Vedantam
et al., CVPR 2015, equations 1 to 4 and section 6 (CIDEr-D); Rennie et al., CVPR 2017 (the reward).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from vlrnn.data.records import Id
from vlrnn.errors import UserError
from vlrnn.metrics.ngrams import ORDERS, Ints, NgramCounts, ReferenceTable, Tokens
from vlrnn.metrics.statistics import Floats
from vlrnn.text.tokenizers import WORDS, CaptionTokenizer

BLEU_NAMES = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4")

# The official scorer's guards against division by zero. They change the tenth digit of a score, and the score of a
# caption with fewer than four words entirely, so they are part of the definition.
_SMALL, _TINY = 1e-9, 1e-15


class BleuStatistics(NamedTuple):
    """Statistics of each image; BLEU of a corpus, or of a resampled set, is computed from their sums."""

    correct: Ints  # [images, 4], n-grams that are also in a reference, clipped
    total: Ints  # [images, 4], n-grams of the prediction
    length: Ints  # [images], words of the prediction
    reference_length: Ints  # [images], words of the reference closest in length, of two equally close the shorter


def bleu_statistics(table: ReferenceTable, counts: list[NgramCounts], lengths: Ints) -> BleuStatistics:
    """The statistics of predictions.

    Args:
        table: the counted references.
        counts: the n-grams of the predictions by order, one prediction per image of the table.
        lengths: [images], numbers of words.
    """
    images = len(lengths)
    correct = np.zeros((images, ORDERS), np.int64)
    for order, rows in enumerate(counts):
        clipped = np.minimum(rows.times, table.largest_counts(order, rows))
        correct[:, order] = np.bincount(rows.caption, clipped, images)
    total = np.maximum(0, lengths[:, None] - np.arange(ORDERS))
    distance_then_length = (np.abs(table.lengths - lengths[table.image_index]) << 32) + table.lengths
    firsts = np.cumsum(table.references_per_image) - table.references_per_image
    closest = np.minimum.reduceat(distance_then_length, firsts) & 0xFFFFFFFF
    return BleuStatistics(correct, total, lengths, closest)


def bleu(
    correct: Floats | Ints, total: Floats | Ints, length: Floats | Ints, reference_length: Floats | Ints
) -> Floats:
    """BLEU-1..4 in 0..1 from statistics, summed over a corpus or of single images.

    Args:
        correct, total: [..., 4].
        length, reference_length: [...].

    Returns:
        [..., 4].
    """
    precision = (correct + _TINY) / (total + _SMALL)
    means: Floats = np.cumprod(precision, axis=-1) ** (1 / np.arange(1, ORDERS + 1))
    ratio = (length + _TINY) / (reference_length + _SMALL)
    return means * np.exp(np.minimum(0, 1 - 1 / ratio))[..., None]  # with the brevity penalty


BETA = 1.2
"""Weight of recall relative to precision in ROUGE-L, beta."""

LONGEST = 10_000
"""Tokens of a text that ROUGE-L compares, since time is proportional to the product of the lengths of two texts."""

_BLOCK_BITS = 1 << 12


def rouge_l(prediction: Tokens, references: Sequence[Tokens]) -> float:
    """ROUGE-L in 0..1 of one prediction: the F measure of the best precision and the best recall over the references,
    which may be of different references, as in the official scorer. There as here, a caption without tokens is one
    empty word, so that an empty prediction for an empty reference scores 1. Texts are truncated to `LONGEST` tokens.

    Args:
        prediction: its tokens.
        references: the tokens of each reference, at least one.
    """
    words, *texts = [(text[:LONGEST] if len(text) > LONGEST else text) or [""] for text in (prediction, *references)]
    common = longest_common_subsequences(words, texts)
    precision = max(common) / len(words)
    recall = max(length / len(text) for length, text in zip(common, texts, strict=True))
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common_subsequences(words: Tokens, texts: Sequence[Tokens]) -> list[int]:
    """The length of the longest common subsequence of `words` with each text.

    Bit-parallel dynamic programming (Hyyrö, Prague Stringology Conference 2004): one bit per position of a text, an
    addition per word. Several texts share an integer, each followed by a guard bit for its carry; not all of them,
    since building the integer takes time quadratic in their number.
    """
    lengths: list[int] = []
    first = bits = 0
    for place, text in enumerate(texts):
        if bits > _BLOCK_BITS:
            lengths += _common(words, texts[first:place])
            first, bits = place, 0
        bits += len(text) + 1
    return lengths + _common(words, texts[first:])


def _common(words: Tokens, texts: Sequence[Tokens]) -> list[int]:
    positions: dict[str, int] = {}
    everywhere = 0
    bit = 1
    for text in texts:
        for word in text:
            positions[word] = positions.get(word, 0) | bit
            everywhere |= bit
            bit <<= 1
        bit <<= 1
    unmatched = everywhere
    for word in words:
        here = unmatched & positions.get(word, 0)
        unmatched = (unmatched + here | unmatched - here) & everywhere
    lengths = []
    for text in texts:
        lengths.append(len(text) - (unmatched & (1 << len(text)) - 1).bit_count())
        unmatched >>= len(text) + 1
    return lengths


SIGMA = 6.0
"""Standard deviation, in words, of the Gaussian penalty of CIDEr-D for a difference in length."""


class CiderD:
    """Scores predictions against counted references, whose norms are computed once.

    Args:
        table: the references.
    """

    def __init__(self, table: ReferenceTable) -> None:
        self.table = table
        self._row_weights = []
        self._norms = []
        for order, rows in enumerate(table.orders):
            weights = rows.times * table.weights(order, rows.key & 0xFFFFFFFF)
            self._row_weights.append(weights)
            self._norms.append(np.sqrt(np.bincount(rows.caption, weights**2, len(table.lengths))))

    def score(self, counts: list[NgramCounts], lengths: Ints, images: Ints | None = None) -> Floats:
        """CIDEr-D, 0..10, of each of M predictions [M].

        Args:
            counts: the n-grams of the predictions by order.
            lengths: [M], numbers of words.
            images: [M], the image of each, by its number in the table; by default one prediction per image, in order.
        """
        table = self.table
        if images is None:
            images = np.arange(len(table.references_per_image))
        # P pairs of a prediction and a reference of its image, prediction by prediction.
        references = table.references_per_image[images]  # [M]
        prediction = np.repeat(np.arange(len(images)), references)  # [P]
        offset = np.cumsum(table.references_per_image)[images] - np.cumsum(references)  # [M], from pair to reference
        reference = np.arange(len(prediction)) + offset[prediction]  # [P]
        similarity = np.zeros(len(prediction))
        for order, rows in enumerate(counts):
            weights = rows.times * table.weights(order, rows.ngram)
            norms = np.sqrt(np.bincount(rows.caption, weights**2, len(lengths)))
            predicted, row = table.matches(order, rows._replace(caption=images[rows.caption]))
            theirs = self._row_weights[order][row]
            products = np.minimum(weights[predicted], theirs) * theirs
            pair = table.orders[order].caption[row] - offset[rows.caption[predicted]]
            dots = np.bincount(pair, products, len(prediction))
            dots = dots.astype(np.float64)  # without any match, bincount returns integers
            scale = norms[prediction] * self._norms[order][reference]
            similarity += np.divide(dots, scale, out=dots, where=scale != 0)
        # The official scorer uses the number of bigrams as length: zero words and one word are equally long.
        bigrams, theirs = (np.maximum(0, each - 1) for each in (lengths, table.lengths))
        similarity *= np.exp(-((bigrams[prediction] - theirs[reference]) ** 2) / (2 * SIGMA**2))
        return 10 * np.bincount(prediction, similarity, len(lengths)) / ORDERS / references


def ngram_words(tokens: Tokens) -> Tokens:
    """The words for BLEU and CIDEr. A token may contain a no-break space (`2 1/2` is one token), which the official
    scorer treats as a space in these, but not in ROUGE-L."""
    return " ".join(tokens).split() if any("\u00a0" in token for token in tokens) else tokens


class CiderReward:
    """CIDEr-D of captions of training images. References and document frequencies are counted once.

    Args:
        references: image id -> its reference captions; images without captions have the reward 0.
        tokenizer: splits captions into the tokens that are compared.
        count_eos: take the end of a caption for one more token, so that a caption with an incomplete end scores less.

    Raises:
        UserError: no image has references.
    """

    def __init__(
        self, references: Mapping[Id, Sequence[str]], tokenizer: CaptionTokenizer = WORDS, count_eos: bool = False
    ) -> None:
        self._tokenizer = tokenizer
        self._count_eos = count_eos
        described = {id: captions for id, captions in references.items() if captions}
        if not described:
            raise UserError("a reward needs reference captions, which no image of train has")
        self._places = {id: place for place, id in enumerate(described)}
        self._cider = CiderD(ReferenceTable([self._tokens(each, [True] * len(each)) for each in described.values()]))

    def __call__(self, ids: Sequence[Id], captions: Sequence[str], ended: Sequence[bool]) -> Floats:
        """The rewards [M], 0..10, of M captions.

        Args:
            ids: the image of each.
            captions: the captions.
            ended: whether each was generated up to its end.
        """
        rewards = np.zeros(len(ids))
        scored = [row for row, id in enumerate(ids) if id in self._places]
        tokens = self._tokens([captions[row] for row in scored], [ended[row] for row in scored])
        lengths = np.fromiter(map(len, tokens), np.int64)
        images = np.fromiter((self._places[ids[row]] for row in scored), np.int64)
        rewards[scored] = self._cider.score(self._cider.table.index.count(tokens), lengths, images)
        return rewards

    def _tokens(self, captions: Sequence[str], ended: Sequence[bool]) -> list[Tokens]:
        tokenized = map(ngram_words, self._tokenizer.tokens_for_scores(captions))
        return [[*words, *["<eos>"] * (self._count_eos and end)] for words, end in zip(tokenized, ended, strict=True)]

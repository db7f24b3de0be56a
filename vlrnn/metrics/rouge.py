"""ROUGE-L as the official caption scorer computes it (Lin, ACL workshop 2004, section 3.1)."""

from collections.abc import Sequence

from vlrnn.metrics.references import Tokens

BETA = 1.2
"""Weight of recall relative to precision, beta."""

LONGEST = 10_000
"""Tokens of a text that are compared, since time is proportional to the product of the lengths of two texts."""

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
    if sum(map(len, texts)) <= _BLOCK_BITS:
        return _common(words, texts)
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

"""ROUGE-L as the official caption scorer computes it (Lin, ACL workshop 2004, section 3.1)."""

from collections.abc import Sequence

from vlrnn.metrics.references import Tokens

BETA = 1.2
"""How much more recall counts than precision."""

LONGEST = 10_000
"""Tokens of a text that are compared. To compare two texts takes time by the product of their lengths."""

_BLOCK_BITS = 1 << 12


def rouge_l(prediction: Tokens, references: Sequence[Tokens]) -> float:
    """ROUGE-L in 0..1 of one prediction: the F measure of the best precision and the best recall over the
    references.

    The two may come from different references, as in the official scorer. A caption without tokens counts as
    one empty word, there too, so that an empty prediction of an empty reference scores 1. Of a longer text than
    `LONGEST` its beginning is compared.

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

    Bit-parallel dynamic programming (Hyyrö, Prague Stringology Conference 2004): one bit per position of a
    text, an addition per word. Some texts lie side by side in one integer, a guard bit behind each catches
    its carry; all of them in one, and building it would take time by the square of their number.
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

"""The Penn Treebank tokenizer that captions are scored with: the tokens of the official caption scorer, without Java.

Token for token what Stanford CoreNLP 3.4.1 gives with the settings of pycocoevalcap: lower case, and the punctuation of its list
removed. `docs/metrics.md` lists the sentences where the two are known to differ. Knows strings only.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from vlrnn.text.characters import shape
from vlrnn.text.rules import ABBREVIATIONS_BEFORE_NUMBERS, RULES

TOKENIZER_NAME = "ptb (as pycocoevalcap: Stanford CoreNLP 3.4.1, lower case, punctuation removed)"

PUNCTUATION = frozenset("'' ' `` ` -LRB- -RRB- -LCB- -RCB- . ? ! , : - -- ... ;".split())
"""What the official scorer removes. It does so after lower-casing, so that -lrb- and its like stay."""

# A chunk between spaces is tokenized by itself, and remembered, unless a rule could look over the space behind it: numbers, tags,
# the periods of single letters and of some abbreviations.
_LOOKS_FURTHER = re.compile(
    rf"[0-9<&]|(?:^|[^a-z])(?:[a-z]|{ABBREVIATIONS_BEFORE_NUMBERS})\.|\.(?:com|net|org|edu)|www\.|://", re.IGNORECASE
)


def tokenize(caption: str) -> list[str]:
    """The tokens of a caption as BLEU, ROUGE-L and CIDEr see them.

    A token may hold a no-break space: the official tokenizer takes `2 1/2` for one token.

    Args:
        caption: any text; line breaks count as spaces.
    """
    if caption.isascii() and not _LOOKS_FURTHER.search(caption):
        return [token for chunk in caption.split() for token in _tokens(chunk)]
    return list(_tokens(caption))


@lru_cache(maxsize=1 << 16)
def _tokens(text: str) -> tuple[str, ...]:
    lowered = (token.lower() for token in _lex(text + "\n"))
    return tuple(token for token in lowered if token and token not in PUNCTUATION)


def _lex(text: str) -> Iterator[str]:
    """The raw tokens: at each place the longest match of all rules."""
    shapes = shape(text)
    place = 0
    while place < len(shapes):
        longest, end, finish = place, place + 1, None
        for rule in RULES:
            match = rule.pattern.match(shapes, place)
            if match and match.end() > longest:
                longest, end, finish = match.end(), match.end(match.lastindex or 0), rule.finish
        if finish:
            yield finish(text[place:end])
        place = end


def detokenize(tokens: Sequence[str]) -> str:
    """A readable string."""
    text = " ".join(tokens)
    return re.sub(r" (n't|'(?:s|m|d|re|ve|ll))(?= |$)", r"\1", text)

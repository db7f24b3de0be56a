"""The Penn Treebank tokenizer of the caption scores, without Java.

The tokens are those of Stanford CoreNLP 3.4.1 with the settings of pycocoevalcap: lower case, and the punctuation of
its list removed. `docs/metrics.md` lists the sentences for which they differ.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, reduce

from vlrnn.text.ptb_characters import shape
from vlrnn.text.ptb_rules import ABBREVIATIONS_BEFORE_NUMBERS, PLAIN, RULES

TOKENIZER_NAME = "ptb (as pycocoevalcap: Stanford CoreNLP 3.4.1, lower case, punctuation removed)"

PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
"""Tokens that the official scorer removes, after lower-casing, so that `-lrb-` and similar ones remain."""

LONGEST_TOKEN = 1000
"""Characters of a window for the rules, lookahead included: a rule that searches for an `@` from each position would
take time quadratic in the length of a text. A longer token is split."""

_MATCHERS = [(pattern.match, finish) for pattern, finish in RULES]  # called some thousand times per caption

# Text between spaces is tokenized by itself and cached, unless a rule could match across the space after it: numbers,
# tags, addresses, the periods of single letters and of some abbreviations.
_NEEDS_CONTEXT = re.compile(
    rf"[0-9<&@]|(?:^|[^a-z])(?:[a-z]|{ABBREVIATIONS_BEFORE_NUMBERS})\.|\.(?:com|net|org|edu)|www\.|://", re.IGNORECASE
)
_OPEN_END = re.compile(rf"(?:^|[^a-z])(?:[a-z]|{ABBREVIATIONS_BEFORE_NUMBERS})\.\s*$", re.IGNORECASE)


def tokenize(caption: str) -> list[str]:
    """The tokens of a caption for BLEU, ROUGE-L and CIDEr.

    A token may contain a no-break space: `2 1/2` is one token of the official tokenizer.

    Args:
        caption: any text; line breaks count as spaces.
    """
    tokens: list[str] = []
    for chunk in caption.split(" "):
        found = _tokens_of_chunk(chunk)
        if found is None:
            return _scored(_lex(caption))
        tokens += found
    return tokens


def tokenize_all(captions: Sequence[str]) -> list[list[str]]:
    """The tokens of each caption, as in the official scorer, which passes all captions as the lines of one text:
    whether `D.` at the end of a caption keeps its period depends on the start of the next one that is not blank."""
    tokens = list(map(tokenize, captions))
    for place, caption in enumerate(captions[:-1]):
        if caption.rstrip().endswith(".") and _OPEN_END.search(caption):
            end = next((each for each in range(place + 1, len(captions)) if captions[each].strip()), len(captions) - 1)
            tokens[place] = _scored(_lex(caption, "\n".join(captions[place + 1 : end + 1])))
    return tokens


@lru_cache(maxsize=1 << 16)
def _tokens_of_chunk(chunk: str) -> tuple[str, ...] | None:
    """The tokens of text between two spaces; None if they depend on the text after it."""
    plain = PLAIN.fullmatch(chunk)
    if plain:
        return (plain[plain.lastindex or 0].lower(),)
    if not chunk.isascii() or _NEEDS_CONTEXT.search(chunk):
        return None
    return tuple(_scored(_lex(chunk)))


def _scored(tokens: Iterable[str]) -> list[str]:
    lowered = map(str.lower, tokens)
    return [token for token in lowered if token and token not in PUNCTUATION]


def _lex(text: str, next_lines: str = "") -> Iterator[str]:
    """The raw tokens: at each position the longest match of all rules."""
    shapes = f"{shape(text)}\n{shape(next_lines[:LONGEST_TOKEN])}\n"
    place = 0
    while place < len(text):
        longest, end, finish = place, place + 1, None
        limit = place + LONGEST_TOKEN
        for match_at, finish_rule in _MATCHERS:
            match = match_at(shapes, place, limit)
            if match and match.end() > longest:
                longest, end, finish = match.end(), match.end(match.lastindex or 0), finish_rule
        if finish:
            yield finish(text[place:end])
        place = end


_BRACKETS = [("-lrb-", "("), ("-rrb-", ")"), ("-lsb-", "["), ("-rsb-", "]"), ("-lcb-", "{"), ("-rcb-", "}")]
_JOINTS = [
    (re.compile(pattern), joined)
    for pattern, joined in [
        (r"(?<=[a-z]) (n't|'(?:s|m|d|re|ve|ll))(?= |$)", r"\1"),
        (r"\b(can) (not)\b|\b(gon|wan) (na)\b|\b(got) (ta)\b|\b(lem|gim) (me)\b", r"\1\2\3\4\5\6\7\8"),
        (r"(?<![^ ])([ydlj]') (?=[a-z])", r"\1"),
        (r"(\$) (?=[0-9])", r"\1"),
        (r"(?<=[0-9]) (%)", r"\1"),
        *((rf"{name} ?", mark) for name, mark in _BRACKETS[::2]),
        *((f" ?{name}", mark) for name, mark in _BRACKETS[1::2]),
    ]
]


_STRETCH = 25  # tokens


def detokenize(tokens: Sequence[str]) -> str:
    """A readable caption of tokens: clitics, brackets and money are joined; punctuation is not restored.

    `tokenize(detokenize(tokens)) == list(tokens)` for the tokens of captions, except runs of curly quotes; where plain
    spelling would not give the tokens, they are separated by a comma, which scoring removes.
    """
    wanted = list(tokens)
    plain = readable = " ".join(wanted)
    for pattern, joined in _JOINTS:
        readable = pattern.sub(joined, readable)
    for text in (readable, plain):
        if tokenize(text) == wanted:
            return text
    # Each word is checked with all before it; in long texts, with those of its stretch.
    stretches = (wanted[first : first + _STRETCH] for first in range(0, len(wanted), _STRETCH))
    spaced = " , ".join(map(_spell, stretches))
    return spaced if tokenize(spaced) == wanted else readable


def _spell(tokens: list[str]) -> str:
    """The tokens joined one by one, each in the first way that leaves the tokens so far unchanged."""
    text = ""
    for count, token in enumerate(tokens, start=1):
        named = reduce(lambda word, pair: word.replace(*pair), _BRACKETS, token)
        words = (
            named,
            token,
            f"{token},",
            named.replace("\u00a0", " "),
            named.upper(),
            f"{named.upper()},",
            named.capitalize(),
        )
        glued = token == "n't" or token.startswith(("'", "-r"))
        gaps = ("", " ", " , ") if glued else (" ", " , ", "")
        ways = (f"{text}{gap}{word}" for word in words for gap in gaps)
        text = next((way for way in ways if tokenize(way) == tokens[:count]), f"{text} {token}")
    return text.strip(" ")

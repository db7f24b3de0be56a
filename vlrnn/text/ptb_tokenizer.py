"""The Penn Treebank tokenizer that captions are scored with: the tokens of the official caption scorer,
without Java.

Token for token what Stanford CoreNLP 3.4.1 gives with the settings of pycocoevalcap: lower case, and the
punctuation of its list removed. `docs/metrics.md` lists the sentences where the two differ.
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
"""What the official scorer removes. It does so after lower-casing, so that -lrb- and its like stay."""

LONGEST_TOKEN = 1000
"""Characters that rules see at once, what must follow a token included. A rule that goes on in search of an `@`, at
each place anew, would take time by the square of a text's length; a longer token is cut into several."""

_MATCHERS = [(rule.pattern.match, rule.finish) for rule in RULES]  # they are called some thousand times a caption

# What stands between spaces is tokenized by itself, and remembered, unless a rule could look over the space
# behind it: numbers, tags, addresses, the periods of single letters and of some abbreviations.
_NEEDS_CONTEXT = re.compile(
    rf"[0-9<&@]|(?:^|[^a-z])(?:[a-z]|{ABBREVIATIONS_BEFORE_NUMBERS})\.|\.(?:com|net|org|edu)|www\.|://",
    re.IGNORECASE,
)
_OPEN_END = re.compile(rf"(?:^|[^a-z])(?:[a-z]|{ABBREVIATIONS_BEFORE_NUMBERS})\.\s*$", re.IGNORECASE)


def tokenize(caption: str) -> list[str]:
    """The tokens of a caption for BLEU, ROUGE-L and CIDEr.

    A token may hold a no-break space: the official tokenizer takes `2 1/2` for one token.

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
    """The tokens of each of a list of captions, as the official scorer gets them: it hands them over in one
    text, a line each, so that whether `D.` at the end of a caption keeps its period depends on how the next
    one begins."""
    tokens = list(map(tokenize, captions))
    for place, caption in enumerate(captions[:-1]):
        if caption.rstrip().endswith(".") and _OPEN_END.search(caption):
            tokens[place] = _scored(_lex(caption, captions[place + 1]))
    return tokens


@lru_cache(maxsize=1 << 16)
def _tokens_of_chunk(chunk: str) -> tuple[str, ...] | None:
    """The tokens of what stands between two spaces; None when what stands behind has a say in them."""
    plain = PLAIN.fullmatch(chunk)
    if plain:
        return (plain[plain.lastindex or 0].lower(),)
    if not chunk.isascii() or _NEEDS_CONTEXT.search(chunk):
        return None
    return tuple(_scored(_lex(chunk)))


def _scored(tokens: Iterable[str]) -> list[str]:
    lowered = map(str.lower, tokens)
    return [token for token in lowered if token and token not in PUNCTUATION]


def _lex(text: str, next_line: str = "") -> Iterator[str]:
    """The raw tokens: at each place the longest match of all rules."""
    shapes = f"{shape(text)}\n{shape(next_line[:LONGEST_TOKEN])}\n"
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
    """A readable caption of tokens: clitics, brackets and money are joined again, punctuation stays lost.

    `tokenize(detokenize(tokens)) == list(tokens)` for the tokens of captions; where plain spelling would not
    give the tokens back, a comma, which scoring removes, keeps them apart. Only runs of curly quotes are
    beyond it.
    """
    wanted = list(tokens)
    plain = readable = " ".join(wanted)
    for pattern, joined in _JOINTS:
        readable = pattern.sub(joined, readable)
    for text in (readable, plain):
        if tokenize(text) == wanted:
            return text
    # Each word is tried with all before it: of long texts, those of its stretch.
    stretches = (wanted[first : first + _STRETCH] for first in range(0, len(wanted), _STRETCH))
    spaced = " , ".join(map(_spell, stretches))
    return spaced if tokenize(spaced) == wanted else readable


def _spell(tokens: list[str]) -> str:
    """Tokens spelled one after the other, each in the first way that keeps all so far as they are."""
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

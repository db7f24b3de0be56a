"""The characters that the Penn Treebank tokenizer of the official caption scorer distinguishes.

That tokenizer (Stanford CoreNLP 3.4.1, 2014) supports an older Unicode, up to U+FFFF. Its classes of letters, marks and
symbols were found by running it on every character; the tables below list the differences to today's Unicode.
"""

import unicodedata

LETTER, DIGIT, MARK, SYMBOL, UNKNOWN = "é٠\u0301§\x00"
"""Placeholders of any non-ASCII letter, digit, mark that may be part of a word, symbol that is a token, and of
characters that the official tokenizer drops."""

APOSTROPHES = "’\x92"
QUOTES = "‘’‚‛“”„‟‹›«»\x82\x91\x92\x93\x94"
HYPHENS = "\u2010\u2011\u058a"
DASHES = "–—―\x96\x97"
SPACES = "\xa0\u2000-\u200a\u3000\u2028\u2029"
SOFT_HYPHEN = "\xad"
_SPECIAL = frozenset(
    QUOTES + HYPHENS + DASHES + SOFT_HYPHEN + "…\x85¢£¤€₠\x80¼½¾⅓⅔⁄٫٬\xa0\u3000\u2028\u2029⁺⁻₊₋"
) | frozenset(
    map(chr, (0xB2, 0xB3, 0xB9, 0x2070, *range(0x2000, 0x200B), *range(0x2074, 0x207A), *range(0x2080, 0x208A)))
)


def _parse(ranges: str) -> list[tuple[int, int]]:
    pairs = (each.partition("-") for each in ranges.split())
    return [(int(first, 16), int(last or first, 16)) for first, _, last in pairs]


# Letters that are newer than that tokenizer; the ranges include characters that are no letters, and unassigned ones.
_TOO_NEW = _parse("""
37F 528-52F 560 588 5EF 860-88E 8A1 8AD-8C9 978 980 9FC AF9 C34 C5A-C5D C80 CDD D04 D54-D5F DE6-DEF E86 E89
E8C E8E-E93 E98 EA0 EA8-EA9 EAC 13F5-13FD 16F1-16F8 170D 171F 1878 191D-191E 19B0-19C0 19C8-19C9 1B4C
1C80-1CBF 1CF2-1CF3 1CFA 2C2F 2C5F 312E-312F 31BB-31BF 4DB6-4DBF 9FCD-9FFF A698-A69D A78F A794-A79F A7AB-A7F7
A8FD-A8FE A9E0-A9FE AA7E-AA7F AB30-ABBF""")

_ONCE_LETTERS = (0x1885, 0x1886)  # marks today

_MARKS = _parse("""
2C2-2C5 2D2-2DF 2E5-2EB 2ED 2EF-36F 375 378-379 384-385 3F6 483-487 55A-55F 591-5BD 5BF 5C1-5C2 5C4-5C5 5C7
615-61A 64B-65E 670 6D6-6E4 6E7-6ED 6FD-6FE 70F 711 730-74C 7A6-7B0 7EB-7F3 900-903 93C 93E-94E 951-955
962-963 981-983 9BC 9BE-9C4 9C7-9C8 9CB-9CD 9D7 9E2-9E3 A01-A03 A3C A3E-A4F A81-A83 ABC ABE-ACF B82 BBE-BC2
BC6-BC8 BCA-BCD C01-C03 C3E-C56 D3E-D44 D46-D48 E31 E34-E3A E47-E4E EB1 EB4-EBC EC8-ECD""")

_SYMBOLS = _parse("""
A1 A5-A9 AC AE-B1 B4 B6-B8 BF D7 F7 37E 387 589 5BE 5C0 5C3 5C6 5F3-5F4 600-603 606-60C 614 61B 61E-61F 66A
66D 6D4 700-70D 7F6-7F8 964-965 E3F E4F 1FBD 2016-2017 2020-2023 2030-2038 203B 203E-2042 207A-207E 208A-208E
20A4 2100-214F 2155-215E 2190-2BFF 3001-3002 3012 30FB FF01-FF0F FF1A-FF20 FF3B-FF40 FF5B-FF65 FFE0-FFE1
FFE5-FFE6""")


def _within(code: int, ranges: list[tuple[int, int]]) -> bool:
    return any(first <= code <= last for first, last in ranges)


def classify(character: str) -> str:
    """The character itself if it is ASCII or has its own rule, otherwise the placeholder of its class."""
    code = ord(character)
    if code < 0x80 or character in _SPECIAL:
        return character
    if code > 0xFFFF:
        return UNKNOWN
    category = unicodedata.category(character)
    if category == "Nd" and not _within(code, _TOO_NEW):
        return DIGIT
    if (category[0] == "L" and not _within(code, _TOO_NEW)) or code in _ONCE_LETTERS:
        return LETTER
    if _within(code, _MARKS):
        return MARK
    return SYMBOL if _within(code, _SYMBOLS) else UNKNOWN


class _Shapes(dict[int, str]):
    """A table for `str.translate` that fills itself."""

    def __missing__(self, code: int) -> str:
        self[code] = shape = classify(chr(code))
        return shape


_SHAPES = _Shapes()


def shape(text: str) -> str:
    """The text with every character classified, of the same length as the text."""
    return text if text.isascii() else text.translate(_SHAPES)

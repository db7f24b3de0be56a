"""The rules of the Penn Treebank tokenizer of the caption scores.

A rule is a regular expression over shapes (`ptb_characters.shape`): its group is the token; the rest of the match after
the group is lookahead. At each position the rule with the longest match, lookahead included, is applied, the first one
among ties, as in the official tokenizer, a generated lexer. The rules were written from its behaviour and the published
description of its grammar, and are tested against golden files; rules about punctuation that scoring removes are left
out.
"""

import re
from collections.abc import Callable

from vlrnn.text.ptb_characters import (
    APOSTROPHES,
    DASHES,
    DIGIT,
    HYPHENS,
    LETTER,
    MARK,
    QUOTES,
    SOFT_HYPHEN,
    SPACES,
    SYMBOL,
)


def _alternatives(words: str) -> str:
    return "(?:" + "|".join(words.split()) + ")"


_SPACE = rf"[ \t\n\r\v\f{SPACES}]"
_APOS = f"(?:['{APOSTROPHES}]|&apos;)"
_ANY_APOS = f"(?:['`‘‛\x91{APOSTROPHES}]|&apos;)"
_ALPHA = f"[a-z{LETTER}]"
_ALNUM = f"[a-z0-9{LETTER}{DIGIT}]"
_D = f"[0-9{DIGIT}]"
_NUM = rf"(?:{_D}*(?:[.:,{SOFT_HYPHEN}٫٬]{_D}+)+|{_D}+)"
_NUMBER = f"[-+]?{_NUM}"
_AMP = "(?:&amp;|&)"
_ENTITY_LETTER = "&[aeiou](?:acute|grave|uml);"
_WORD_START = f"(?:[a-z{LETTER}{MARK}{SOFT_HYPHEN}]|{_ENTITY_LETTER})"
_WORD_REST = f"(?:[a-z0-9{LETTER}{MARK}{DIGIT}{SOFT_HYPHEN}]|{_ENTITY_LETTER})*"
_WORD = f"{_WORD_START}{_WORD_REST}(?:[.!?]{_WORD_START}{_WORD_REST})*"
_CLITIC = f"{_APOS}(?:re|ve|ll|[msd])"
_NOT = f"n{_ANY_APOS}t"
_ACRONYM = r"(?:(?:canada|sino|korean|eu|japan|non)-u\.s|u\.s\.-u\.(?:s\.s\.r|k)|[a-z](?:\.[a-z])*)"
_LONG_ACRONYM = r"(?:(?:canada|sino|korean|eu|japan|non)-u\.s|u\.s\.-u\.(?:s\.s\.r|k)|[a-z](?:\.[a-z])+)"
_HYPHEN = f"[-_{HYPHENS}]"
_ELIDED = f"(?:[dol]{_ANY_APOS}{_ALNUM})?"
_HYPHENATED = f"{_ELIDED}{_ALNUM}+(?:{_HYPHEN}{_ELIDED}{_ALNUM}+)*"
_HYPHENATED_NUMBERS = rf"[a-z0-9][a-z0-9.,{SOFT_HYPHEN}]*(?:-(?:{_LONG_ACRONYM}\.|[a-z0-9{SOFT_HYPHEN}]+))+"
_COMPANY = f"(?-i:[A-Z]+(?:{_AMP}[A-Z]+|[+][A-Z]+)+)"
_SLASHED = r"[a-z0-9]+(?:-[a-z]+){0,2}(?:\\?/[a-z0-9]+(?:-[a-z]+){0,2}){1,2}"
_PAUSE = "[,;:、]"
CONTRACTIONS = "(can)not|(gon|wan)na|(got)ta|(lem|gim)me"

# Their period is part of the token everywhere; `etc.a` is two tokens.
_ABBREVIATIONS = _alternatives(r"""
    jan feb mar apr jun jul aug sept? oct nov dec mon tues? wed thu(?:rs)? fri
    ala ariz calif colo conn ct dak fla ga ind kans? ky md mich minn mo mont neb nev okla penn tenn va vt
    wisc? wyo (?-i:A)z (?-i:A)rk (?-i:D)el (?-i:I)ll (?-i:L)a (?-i:M)ass (?-i:M)iss (?-i:O)re (?-i:P)a
    (?-i:T)ex (?-i:W)ash inc cos? corp pp?t(?-i:[ye])s? ltd plc rt bancorp bhd assn univ intl sys tel est ext
    sq jr sr bros ed\.d ph\.d esq etc al seq bldg blvd rd""")

# The same, but `mr.a` is one word.
_TITLES = _alternatives(r"""
    mrs? ms drs? profs? sens? reps? attys? lt col gen messrs govs? adm rev maj sgt cpl pvt capt ste? ave pres
    lieut hon brig comdr cmdr pfc spc supts? det mt ft adj adv asst assoc ens insp mlle mme msgr sfc
    vs (?-i:v) alex wm jos cie a\.k\.a cf treas ph invt elec natl m(?-i:[ft])g dept""")

# Their period is part of the token before a number, and a separate token elsewhere.
ABBREVIATIONS_BEFORE_NUMBERS = _alternatives("ca figs? prop nos? art pp op")

# One letter and a period before these words, capitalised, is a letter and the end of a sentence.
_SENTENCE_STARTS = _alternatives(r"""
    About According Additionally After An? As At But Did During Earlier He Her Here How However If In It Last
    Many More Mr\. Ms\. Now Once One Other Our She Since So Some Such That The Their Then There These They
    This We When While What Who Why Yet You""")

_TAG = (
    r"<(?:[!?][a-z-][^>\r\n]*"
    r"|[a-z][\w:.-]*(?: +(?:[a-z][\w:.-]* *= *(?:'[^']*'|\"[^\"]*\")|[a-z][\w:.-]*))* */?"
    r"|/[a-z][\w:.-]*) *>"
).replace(r"\w", "A-Za-z0-9_")

_APOSTROPHE_WORDS = "|".join(
    [
        f"{_APOS}n{_APOS}?|[ldj]{_APOS}|(?:dunkin|somethin|ol){_APOS}|{_APOS}em|{_APOS}[2-9]0s|{_APOS}till?|{_APOS}cause",
        f"(?-i:[A-HJ-XZn]){_ANY_APOS}[a-z{LETTER}]{{2,}}",
        f"[a-z{LETTER}]+[aeiouy]{_ANY_APOS}(?-i:[aeiouA-Z])[a-z{LETTER}]*",
        r"cont'd\.?|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l",
        f"o{_ANY_APOS}o",
    ]
)
_URL_END = r"(?:/[^ \t\n\f\r\"<>|()]+[^ \t\n\f\r\"<>|.!?(){},-])?"
_NOT_IN_ADDRESS = r" \t\n\f\r\"<>|(){}\xa0"
_ADDRESS = (
    f"(?:&lt;|<)?[a-z0-9][^{_NOT_IN_ADDRESS}]*@"
    rf"(?:[^.{_NOT_IN_ADDRESS}]+\.)*[^.{_NOT_IN_ADDRESS}]+(?:&gt;|>)?"
)
_EXTENSIONS = _alternatives("""
    bat bmp class cgi cpp c dll docx? exe gif gz html? h jar java jpe?g mov mp(?-i:[34g]) pdf php pl png ppt
    ps py sql tar txt wav xml x zip 3gp wm(?-i:[va]) avi flv""")
_PHONE = (
    r"(?:\([0-9]{2,3}\)[ \xa0]?|(?:\+\+?)?(?:[0-9]{2,4}[- \xa0])?[0-9]{2,4}[- \xa0])"
    r"[0-9]{3,4}[- \xa0]?[0-9]{3,5}"
    r"|(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}"
)
_UPRIGHT_SMILEY = r"[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\)"
_QUOTE_MARKS = str.maketrans(
    {"‘": "`", "‛": "`", "‹": "`", "\x91": "`", "\x82": "`", "’": "'", "›": "'", "\x92": "'"}
    | {"“": "``", "«": "``", "\x93": "``", "”": "''", "»": "''", "\x94": "''"}
)


def _constant(word: str) -> Callable[[str], str]:
    return lambda _: word


def _straight_apostrophe(token: str) -> str:
    return re.sub(f"[{APOSTROPHES}]|&apos;", "'", token).replace("‘", "`")


def _without_soft_hyphens(token: str) -> str:
    return token.replace(SOFT_HYPHEN, "")


def _bound_spaces(token: str) -> str:
    return token.replace(" ", "\xa0")


def _named_parentheses(token: str) -> str:
    return _bound_spaces(token).replace("(", "-LRB-").replace(")", "-RRB-")


def _plain_ampersand(token: str) -> str:
    return re.sub("&amp;", "&", token, flags=re.IGNORECASE)


def _latex_quotes(token: str) -> str:
    return token.replace("&apos;", "'").translate(_QUOTE_MARKS)


_SOURCES: list[tuple[str, Callable[[str], str]]] = [
    (r"(c\+\+|[cf]#)", str),
    (f"{CONTRACTIONS}|('t)(?:was|is)", str),
    (f"({_TAG})", _bound_spaces),
    (f"([{DASHES}]|&[mn]dash;|&md;)", _constant("--")),
    ("(&amp;)", _constant("&")),
    ("(&(?:ht|tl|ur|lr|qc|ql|qr|odq|cdq|#[0-9]+);)", str),
    (f"({_WORD}){_CLITIC}", _without_soft_hyphens),
    (f"([a-z{SOFT_HYPHEN}]*[a-mo-z]{SOFT_HYPHEN}*){_NOT}", _without_soft_hyphens),
    (f"({_WORD})", _without_soft_hyphens),
    (f"({_APOSTROPHE_WORDS})", str),
    (f"(y{_APOS})[a-z{LETTER}]", str),
    (r"(https?://[^ \t\n\f\r\"<>|(){}]+[^ \t\n\f\r\"<>|.!?(){},-])", str),
    (rf"(www\.(?:[^ \t\n\f\r\"<>|.!?(){{}},]+\.)+[a-z]{{2,4}}{_URL_END})", str),
    (rf"((?:(?-i:[^ \t\n\f\r\"`'<>|.!?(){{}},-_$])+\.)+(?:com|net|org|edu){_URL_END})", str),
    (f"({_ADDRESS})", str),
    (f"(@[a-z_][a-z_0-9]*|#{_WORD_START}+)", str),
    (f"({_CLITIC}|{_NOT})[^a-z]", _straight_apostrophe),
    (rf"({_D}{{1,2}}[-/]{_D}{{1,2}}[-/]{_D}{{2,4}})", str),
    (f"({_NUMBER})", _without_soft_hyphens),
    ("([⁺⁻₊₋]?(?:[⁰¹²³⁴-⁹]+|[₀-₉]+))", str),
    (rf"((?:{_D}{{1,4}}[- \xa0])?{_D}{{1,4}}(?:\\?/|⁄){_D}{{1,4}})", _bound_spaces),
    *(
        (f"({sign})", _constant(words))
        for sign, words in {"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}.items()
    ),
    (rf"(-(?:[rl][rcs]b)-|c\.d\.s|pro-|anti-|s{_AMP}p-500|s{_AMP}ls|cap{_APOS}n|c{_APOS}est)", _plain_ampersand),
    (f"({_SLASHED})", str),
    (r"((?-i:[A-Z])*\$|#)", str),
    ("(¢)", _constant("cents")),
    ("(£)", _constant("#")),
    ("([¤€₠\x80])", _constant("$")),
    (rf"([a-z])\.{_SPACE}+(?-i:{_SENTENCE_STARTS}){_SPACE}", str),
    (rf"({ABBREVIATIONS_BEFORE_NUMBERS}\.){_SPACE}?{_D}", str),
    (rf"({_ABBREVIATIONS}\.)[\s\S]{{2}}", str),
    (rf"((?:{_ABBREVIATIONS}|{_TITLES})\.)", str),
    (rf"({_ACRONYM}\.)", str),
    (f"({_APOS}[0-9]{{2}}){_SPACE}", str),
    (rf"({_ALNUM}+(?:\.{_ALNUM}+)*\.{_EXTENSIONS})(?:{_SPACE}|[.?!,])", str),
    (rf"({_WORD}\.){_PAUSE}", _without_soft_hyphens),
    (f"({_PHONE})", _named_parentheses),
    ("(\"|&quot;|'')[a-z0-9$]", _constant("''")),
    ("(\"|&quot;|'')", _constant("''")),
    ("(<<|>>)", str),
    ("(&lt;|<)", _constant("<")),
    ("(&gt;|>)", _constant(">")),
    (r"([<>]?[:;=](?-i:[-o*']?[()DPdpO\\{@|\[\]]))[^a-z0-9]", _named_parentheses),
    (f"({_UPRIGHT_SMILEY})", _named_parentheses),
    *(
        (f"({re.escape(mark)})", _constant(f"-{name}-"))
        for mark, name in zip("()[]{}", ["LRB", "RRB", "LSB", "RSB", "LCB", "RCB"], strict=True)
    ),
    (r"(---?-?)(?!-)", _constant("--")),
    ("(-+)", str),
    (r"(\.{3,5}|\.[ \xa0](?:\.[ \xa0])+\.|[…\x85])", _constant("...")),
    (r"(@+|#+|_+|\*+|(?:\\\*){1,3})", str),
    (r"([?!]+)", str),
    (rf"([.,;:=/+%&~^|\\{SYMBOL}⁄⁺⁻₊₋])", str),
    (rf"({_HYPHENATED_NUMBERS})", _without_soft_hyphens),
    (rf"({_HYPHENATED_NUMBERS}\.){_PAUSE}", _without_soft_hyphens),
    (f"({_HYPHENATED})", str),
    (rf"({_HYPHENATED}\.){_PAUSE}", str),
    (f"({_COMPANY})", _plain_ampersand),
    (rf"({_COMPANY}\.){_PAUSE}", _plain_ampersand),
    (r"(')[a-z][^ \t\n\r\xa0]", str),
    (f"({_CLITIC})", _straight_apostrophe),
    (f"([`{QUOTES}]{{1,2}}|{_APOS})", _latex_quotes),
]

PLAIN = re.compile(
    rf"(?!(?:{CONTRACTIONS})\b|(?:[a-z]|{ABBREVIATIONS_BEFORE_NUMBERS}|{_ABBREVIATIONS}|{_TITLES})\.)([a-z]+)[.,;:?!]?",
    re.IGNORECASE,
)
"""Text between spaces that is one word, with at most one punctuation mark after it, under all rules: a shortcut for
nearly all of a caption."""

RULES = [(re.compile(source, re.IGNORECASE), finish) for source, finish in _SOURCES]
"""All rules, in order of precedence among equal matches: a pattern, and a function that converts the matched text."""

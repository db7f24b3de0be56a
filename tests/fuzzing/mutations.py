"""From good to bad: bytes, texts, and values of JSON and YAML. All that is drawn is drawn from the `Random` that is
given."""

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

DEEP = 300
TEXTS = (
    "",
    " ",
    "\t\n",
    "\x00",
    "a\x00b\x1b[31m\x07\x7f",
    "\u202eright to left\u202c",
    "שלום עולם",
    "مرحبا بالعالم",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "e\u0301" * 50,
    "z\u0335\u0321\u0353" * 30,
    "\ufeffmark",
    "\u2028\u2029\x85\x0b\x0c",
    "𝕬𝖇𝖈 ﬁ ½ Ⅷ ① ²",
    "漢字とカナ",
    "null",
    "true",
    "-1",
    "1e999",
    "[]",
    "{}",
    "!!python/object/apply:os.system [echo]",
    "${oc.env:HOME}",
    "{{ 7 * 7 }}",
    "<script>alert(1)</script>",
    "%s%n%d {0} {x!r}",
    "../../../../etc/passwd",
    "/dev/null",
    'con\\nul:*?"<>|',
    "'; --",
    ',,,;"',
    "<bos> <eos> <pad> <unk>",
    "...",
    "?!",
)
NUMBERS = (0, -1, 1, 2, 7, 2**31, -(2**31), 2**63, -(2**63) - 1, 2**64, 10**400, 0.5, -0.5, -0.0, 1e308, 5e-324, 1e-9)
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))


def odd_text(random: Random, longest: int = 100_000) -> str:
    """Text that people do not write: any characters, none, very many."""
    kind = random.randrange(8)
    if kind < 4:
        return random.choice(TEXTS)
    if kind == 4:
        return "".join(chr(_character(random)) for _ in range(random.randint(1, 40)))
    if kind == 5:
        return " ".join(random.choice(TEXTS) for _ in range(random.randint(2, 6)))
    if kind == 6:
        return (random.choice(TEXTS) or "a") * random.randint(2, 20)
    return (random.choice(("a", "a ", "?", "é", "very ", "\n", "(", "'s ", "1,")) * longest)[:longest]


def _character(random: Random) -> int:
    while True:
        found = random.choice((random.randrange(0x80), random.randrange(0x3000), random.randrange(0x110000)))
        if not 0xD800 <= found <= 0xDFFF:  # halves of characters come from `spoil`
            return found


def odd_value(random: Random) -> Any:
    """A value that is seldom meant."""
    kind = random.randrange(9)
    if kind < 3:
        return random.choice(NUMBERS)
    if kind == 3:
        return random.choice(NOT_FINITE)
    if kind < 6:
        return odd_text(random, 3000)
    if kind == 6:
        return random.choice((None, True, False))
    if kind == 7:
        return random.choice(([], [[]], {}, {"": {}}, ["x", 1, None], [0] * 50, {"class_path": "os.system"}))
    return nested(random.randint(2, DEEP), random.choice((list, dict)))


def nested(depth: int, kind: type) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def bend(random: Random, value: Any) -> Any:
    """A value of JSON with one of its places changed. What is given stays as it is."""
    value = json.loads(json.dumps(value))
    places = list(_places(value))
    if not places:
        return odd_value(random)
    holder, key = random.choice(places)
    kind = random.randrange(8)
    if kind < 3:
        holder[key] = odd_value(random)
    elif kind == 3:
        del holder[key]
    elif kind == 4:
        holder[key] = random.choice((str(holder[key]), [holder[key]], {"value": holder[key]}))
    elif kind == 5 and isinstance(holder, dict):
        holder[random.choice(("surplus", "", f"{key} ", str(key).upper()))] = holder.pop(key)
    elif kind == 6 and isinstance(holder, dict):
        holder[random.choice(("surplus", "Ünïcode", odd_text(random, 100)))] = odd_value(random)
    else:
        other, its = random.choice(places)
        holder[key] = json.loads(json.dumps(other[its]))  # no two places are one
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


# What JSON allows and no dictionary holds, and what it does not allow.

_SPOILS: dict[str, Callable[[Random, str], str]] = {
    "mark": lambda random, text: "\ufeff" + text,
    "nothing": lambda random, text: "",
    "null byte": lambda random, text: _insert(random, text, "\x00"),
    "half a character": lambda random, text: _in_string(
        random, text, random.choice((r"\ud83d", r"\udc00", r"\uD800\uD800"))
    ),
    "escape": lambda random, text: _in_string(random, text, random.choice((r"\q", r"\u12", r"\x41", "\\"))),
    "cut": lambda random, text: text[: random.randrange(len(text) + 1)],
    "doubled key": lambda random, text: text.replace('{"', random.choice(('{"id": 1, "', '{"image_id": null, "')), 1),
    "digits": lambda random, text: _number(random, text, "9" * random.choice((400, 5000))),
    "not finite": lambda random, text: _number(random, text, random.choice(("NaN", "-Infinity", "1e999"))),
    "deep": lambda random, text: _insert(random, text, "[" * random.choice((50, 2000, 100_000))),
    "swap": lambda random, text: _swap(random, text),
    "comma": lambda random, text: text.replace("}", ",}").replace("]", ",]"),
    "quotes": lambda random, text: text.replace('"', "'"),
    "rubbish": lambda random, text: _insert(random, text, random.choice(TEXTS)),
    "behind": lambda random, text: text + random.choice(("x", "{}", "]", "\n\n{}", "null")),
}


def spoil(random: Random, text: str) -> str:
    """JSON that is none, or of which few have thought."""
    return _SPOILS[random.choice(list(_SPOILS))](random, text)


def spoil_lines(random: Random, lines: list[str]) -> bytes:
    """A file of these lines, of which one, or what parts them, is odd."""
    kind = random.randrange(10)
    lines = list(lines)
    at = random.randrange(len(lines))
    if kind == 0:
        return "\r\n".join(lines).encode(errors="surrogatepass")
    if kind == 1:
        lines.insert(at, random.choice(("", " ", "null", "[]", "# remark", "\x00", "1", '"text"')))
    elif kind == 2:
        lines.append(lines[at])
    elif kind == 3:
        return "\n".join(lines).encode(random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")))
    elif kind == 4:
        return bend_bytes(random, "\n".join(lines).encode())
    elif kind == 5:
        return " ".join(lines).encode()
    elif kind == 6:
        lines = lines[: random.randrange(2)]
    else:
        lines[at] = spoil(random, lines[at])
    return ("\n".join(lines) + random.choice(("", "\n", "\n\n"))).encode(errors="surrogatepass")


def _insert(random: Random, text: str, what: str) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + what + text[at:]


def _in_string(random: Random, text: str, what: str) -> str:
    quotes = [at for at, each in enumerate(text) if each == '"']
    at = random.choice(quotes or [0]) + 1
    return text[:at] + what + text[at:]


def _number(random: Random, text: str, number: str) -> str:
    colons = [at for at, each in enumerate(text) if each == ":"]
    if not colons:
        return number
    at = random.choice(colons) + 1
    end = next((place for place in range(at, len(text)) if text[place] in ",}]"), len(text))
    return f"{text[:at]} {number}{text[end:]}"


def _swap(random: Random, text: str) -> str:
    one, other = sorted((random.randrange(len(text) + 1), random.randrange(len(text) + 1)))
    return text[:one] + text[one:other][::-1] + text[other:]


# Bytes.


def bend_bytes(random: Random, whole: bytes) -> bytes:
    """Bytes cut short, flipped, doubled, taken out, written over."""
    bytes_ = bytearray(whole)
    size = len(bytes_)
    one, other = sorted((random.randrange(size + 1), random.randrange(size + 1)))
    kind = random.randrange(8)
    if kind == 0:
        return bytes(bytes_[:one])
    if kind == 1:
        del bytes_[one : min(other, one + 64)]
    elif kind == 2:
        bytes_[one:one] = random.randbytes(random.randint(1, 64))
    elif kind == 3:
        bytes_[one:other] = bytes(other - one)
    elif kind == 4:
        start = random.randrange(max(1, min(size, 64)))
        bytes_[start : start + 4] = random.choice((b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff"))
    elif kind == 5:
        bytes_ += bytes_[one:other]
    else:
        for _ in range(random.choice((1, 1, 3, 20))):
            at = random.randrange(size) if random.random() < 0.5 else random.randrange(min(size, 256))
            bytes_[at] ^= 1 << random.randrange(8)
    return bytes(bytes_)

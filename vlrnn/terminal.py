"""Text from outside on its way to a terminal or a notebook: captions, answers, names of files, what checkpoints and
data hold. It cannot move the cursor, break a line, turn the direction of writing, or be lost because the terminal lacks
a character.
"""

import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from html import escape
from typing import Any, TextIO

# Controls; marks and overrides of direction; separators of lines; halves of characters, as of file names that are no
# UTF-8. What joins letters and pictures (U+200C, U+200D) is text.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def printable(text: str, keep: str = "") -> str:
    r"""A text with what is not to reach a terminal as Python escapes it: `\x1b`, `\n`, `\u202e`; but for the characters
    `keep`."""
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def print_line(text: str, keep: str = "", file: TextIO | None = None) -> None:
    """Print a text from outside, `printable`, at once; by default on stdout."""
    print(printable(text, keep), file=file or sys.stdout, flush=True)


def print_json(value: Any) -> None:
    """Print a value on stdout as one line of JSON, which it stays in any encoding: what that lacks is escaped as JSON
    does it."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value)
    print(_UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text), flush=True)


@contextmanager
def escaping_streams() -> Iterator[None]:
    """Within, stdout and stderr write what their encoding lacks (cp1252, ASCII) with escapes, where they would raise
    an error and lose it."""
    changed = []
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            changed.append((stream, stream.errors))
            _reconfigure(stream, "backslashreplace")
    try:
        yield
    finally:
        for stream, errors in changed:
            _reconfigure(stream, errors)


def _reconfigure(stream: io.TextIOWrapper, errors: str | None) -> None:
    with suppress(OSError, ValueError):  # it is closed, nobody reads any more, or a pipe has taken the place of a file
        stream.reconfigure(errors=errors)


def html_table(rows: Iterable[Iterable[Any]]) -> str:
    """Names and values, a row of each, as a notebook displays them (`_repr_html_`)."""
    cells = ("".join(f"<td>{escape(printable(str(each)))}</td>" for each in row) for row in rows)
    return f"<table><tr>{'</tr><tr>'.join(cells)}</tr></table>"


_DIGIT = 0.001  # the smallest step that is shown, 0.1 %


def percent(share: float) -> str:
    """A share in 0..1 as `12.3 %`. What would be rounded to nothing, or to all, is written as `< 0.1 %` or `> 99.9 %`:
    neither a sigmoid nor a softmax reaches them."""
    if share < _DIGIT:
        return "< 0.1 %"
    if share > 1 - _DIGIT:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"

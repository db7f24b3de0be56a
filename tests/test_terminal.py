"""Text from outside on a terminal: escaped, whole, in every encoding."""

import ast
import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vlrnn
from vlrnn.cli import main
from vlrnn.errors import UserError
from vlrnn.terminal import escaping_streams, print_json, print_line, printable

HOSTILE = "\x1b]0;owned\x07 \x1b[2J\x9b31m \r\n\t \x7f \u202egnp.exe \u2028 \u2066 \udce9"
SHOWN = r"\x1b]0;owned\x07 \x1b[2J\x9b31m \r\n\t \x7f \u202egnp.exe \u2028 \u2066 \udce9"
READABLE = "été 猫が ما است \u0938\u094d\u200d \U0001f468\u200d\U0001f469 C:\\new a\u0301 \u3000 \xa0"


def test_what_would_act_on_a_terminal_is_escaped_and_nothing_else() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable(READABLE) == READABLE
    assert printable("a\tb\nc\x1b", keep="\n\t") == "a\tb\nc\\x1b"


@given(st.text(st.characters(exclude_categories=())))
def test_a_line_stays_a_line(text: str) -> None:
    shown = printable(text)
    assert shown.splitlines() in ([shown], [])
    assert printable(shown) == shown
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in shown)
    assert shown.encode().decode() == shown
    assert str(UserError(text[:900])) == printable(text[:900].strip("\r\n"))


def test_nothing_is_lost_in_any_encoding(subtests: pytest.Subtests) -> None:
    for encoding in ["utf-8", "cp1252", "ascii", "utf-16", "shift_jis"]:
        with subtests.test(encoding=encoding), pytest.MonkeyPatch.context() as monkeypatch:
            content = io.BytesIO()
            monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding))
            text = HOSTILE + READABLE
            with escaping_streams():
                print_line(READABLE)
                print_json({"text": text})
            assert sys.stdout.errors == "strict"
            sys.stdout.flush()
            line, value = content.getvalue().decode(encoding).splitlines()
            assert line == READABLE.encode(encoding, "backslashreplace").decode(encoding)
            assert json.loads(value) == {"text": text}
            assert printable(value) == value


def test_every_command_writes_what_stdout_lacks_with_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it would have raised an error, in whatever prints: our own words, a table, or a library's."""
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, "ascii"))
    monkeypatch.setattr("vlrnn.commands.report.run", lambda arguments: print("Größe", *arguments.runs))
    assert main(["report", "猫", "--out", "page.html"]) == 0
    assert content.getvalue() == b"Gr\\xf6\\xdfe \\u732b\n"


PACKAGE = Path(vlrnn.__file__).parent


def test_all_that_is_printed_is_made_printable() -> None:
    """By `vlrnn.terminal`; `print` is for our own words alone, which are constants. The other that may print runs where
    there is no vlrnn, and prints JSON."""
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).as_posix() in ("terminal.py", "inference/onnx_captioner.py"):
            continue
        for call in filter(lambda each: isinstance(each, ast.Call), ast.walk(ast.parse(path.read_text()))):
            assert isinstance(call, ast.Call)
            if isinstance(call.func, ast.Name) and call.func.id == "print":
                assert all(isinstance(each, ast.Constant) for each in call.args), f"{path}:{call.lineno}"

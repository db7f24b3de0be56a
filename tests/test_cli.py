"""The command line as such: help, mistakes, and how it ends."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

import vlrnn
from vlrnn.cli import COMMANDS, main
from vlrnn.errors import UserError

HEAVY = ("torch", "torchvision", "pytorch_lightning", "numpy", "matplotlib", "PIL", "jsonargparse")


def program(*lines: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in a process of its own."""
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=120)


def test_every_command_has_help(subtests: pytest.Subtests, capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with subtests.test(command=command):
            with pytest.raises(SystemExit) as left:
                main([command, "--help"])
            assert left.value.code == 0
            printed = capsys.readouterr()
            assert f"vlrnn {command}" in printed.out
            assert printed.err == ""


def test_public_names_are_imported_when_requested() -> None:
    for name in vlrnn.__all__:
        assert getattr(vlrnn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        vlrnn.Nonsense  # noqa: B018
    done = program("import json, sys, vlrnn", "vlrnn.tokenize", f"print(set({HEAVY}) & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr


def test_help_is_quick() -> None:
    """For commands of our own: nothing that is slow to import is imported."""
    quick = [["--help"], ["--version"], []]
    quick += [[name, "--help"] for name in ("quickstart", "caption", "score", "report", "export")]
    quick += [["probe", "grounding", "--help"], ["study", "horizon", "--help"]]
    done = program(
        "import contextlib, io, json, sys",
        "from vlrnn.cli import main",
        f"for arguments in {quick}:",
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):",
        "        main(arguments)",
        f"print(json.dumps(sorted(set({HEAVY}) & set(sys.modules))))",
    )
    assert json.loads(done.stdout) == [], done.stderr


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    for name, purpose in COMMANDS.items():
        assert name in shown
        assert purpose in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"vlrnn {vlrnn.__version__}\n"


MISTAKES: list[tuple[list[str], str, str]] = [
    ([], "vlrnn: ", "COMMAND"),
    (["no_such_command"], "vlrnn: ", "no_such_command"),
    (["--no_such_flag"], "vlrnn: ", "--help"),
    (["caption"], "vlrnn caption: ", "--checkpoint"),
    (["report", "run"], "vlrnn report: ", "no metrics.json"),
    (["export", "--checkpoint", "x", "--out", "y", "--no_such_flag"], "vlrnn export: ", "--no_such_flag"),
    (["score"], "vlrnn score: ", "captions"),
    (["score", "captions"], "vlrnn score: ", "--references"),
    (["quickstart", "--train", "many"], "vlrnn quickstart: ", "many"),
    (["fit", "--no_such_flag"], "vlrnn fit: ", "no_such_flag"),
]


def test_mistakes_are_errors_of_one_line(subtests: pytest.Subtests, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, start, word in MISTAKES:
        with subtests.test(arguments=arguments, start=start, word=word):
            assert main(arguments) == 2
            printed = capsys.readouterr()
            assert printed.out == ""
            assert len(printed.err.splitlines()) == 1
            assert printed.err.startswith(start)
            assert word in printed.err


def test_a_mistake_is_one_line_whatever_is_in_it() -> None:
    printed = str(UserError(f"a\nb\u2028c {'?' * 100_000}: mend it"))
    assert printed.splitlines() == [printed]
    assert printed.startswith("a\\nb\\u2028c ???")
    assert printed.endswith("???: mend it")
    assert len(printed) <= 2000


def test_the_exit_code_is_that_of_the_process() -> None:
    done = subprocess.run([sys.executable, "-m", "vlrnn", "no_such_command"], capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_fault_of_ours_is_printed_in_full() -> None:
    done = program(
        "import sys",
        "import vlrnn.commands.report as report",
        "report.run = lambda arguments: 1 / 0",
        "from vlrnn.cli import main",
        "sys.exit(main(['report', 'run', '--out', 'report.html']))",
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_an_interrupted_command_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vlrnn.commands.report.run", interrupted)
    assert main(["report", "run", "--out", "report.html"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"]])
def test_a_closed_pipe_is_no_error(arguments: list[str], buffered: bool) -> None:
    """`vlrnn ... | head`: no traceback, though nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "vlrnn", *arguments]
        environment = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
        done = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_shells_complete_commands_and_flags(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="needs shtab, of the extra completion")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    assert all(name in script for name in (*COMMANDS, "--num_beams", "--trainer.max_epochs"))

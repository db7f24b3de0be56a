"""Reading and writing: errors name file and line, and no file is ever left half done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlrnn.errors import UserError
from vlrnn.files import (
    clear_unfinished,
    is_aside,
    move_aside,
    parse_json,
    plain_cell,
    read_json,
    read_text,
    replacing,
    spreadsheet_cell,
    write_json,
)


def test_json_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.json"
    write_json(path, {"größe": [1, 2.5, None]})
    assert read_json(path) == {"größe": [1, 2.5, None]}
    assert "größe" in path.read_text(encoding="utf-8")
    assert [each.name for each in path.parent.iterdir()] == ["a.json"]


BAD_JSON = [
    (b"", ":1: not JSON"),
    (b'{"a": 1,\n "b": }', ":2: not JSON"),
    (b"[1, 2", ":1: not JSON"),
    (b'{"image_id": 5\n', ":2: not JSON"),
    (b"[" + b"1" * 5000 + b"]", "thousands of digits"),
    (b"\xff\xfe\x00", "UTF-8"),
    (b"[" * 100_000, "nested too deeply"),
]


def test_bad_json_names_file_and_line(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for content, message in BAD_JSON:
        with subtests.test(content=content, message=message):
            tmp_path = tmp_path_factory.mktemp("case")
            path = tmp_path / "bad.json"
            path.write_bytes(content)
            with pytest.raises(UserError) as fault:
                read_json(path)
            assert str(path) in str(fault.value)
            assert message in str(fault.value) or content == b""
            assert "\n" not in str(fault.value)


def test_half_a_character_is_refused() -> None:
    """JSON can spell what no file can hold; a pair of halves is a character."""
    assert parse_json(r'"\ud83d\ude00 \u00e9"', "a.json") == "\U0001f600 é"
    with pytest.raises(UserError, match=r"^a\.json: has an incomplete character, '\\ud83d'"):
        parse_json(r'{"caption": "a dog \ud83d"}', "a.json")


def test_a_line_of_a_file_is_named_as_it_is() -> None:
    with pytest.raises(UserError, match=r"^a\.jsonl:7: not JSON"):
        parse_json("{oops}\n", "a.jsonl:7")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="cannot be read"):
            read_text(path)
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "bom") == {}


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_the_old_file_stays_when_the_body_raises(tmp_path: Path, fault: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as file:
            file.write("half of the n")
            raise fault

    with pytest.raises(fault):
        write()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_the_old_file_stays_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_what_a_kill_left_is_cleared(tmp_path: Path) -> None:
    """And nothing else: no file that is being written, and none that is somebody's own."""
    remaining = [
        tmp_path / name for name in (".hidden", ".env.template", ".last.ckpt.old", "last.ckpt", "a.unfinished")
    ]
    for path in remaining:
        path.write_text("")
    program = "import os, sys; from vlrnn.files import replacing\nwith replacing(sys.argv[1]): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", program, tmp_path / "last.ckpt"], timeout=60)
    assert len(list(tmp_path.iterdir())) == len(remaining) + 1
    with replacing(tmp_path / "best.ckpt") as file:
        clear_unfinished([tmp_path, tmp_path / "absent"])
        file.write("whole")
    assert sorted(tmp_path.iterdir()) == sorted([*remaining, tmp_path / "best.ckpt"])
    assert (tmp_path / "best.ckpt").read_text() == "whole"


def test_nothing_is_lost_however_often(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for number in range(1, 4):
        run.mkdir(exist_ok=True)
        (run / "file").write_text(str(number))
        assert move_aside(run) == tmp_path / f"run.old-{number}"
        assert is_aside(tmp_path / f"run.old-{number}")
        assert not is_aside(run)
        assert list(run.iterdir()) == []
    assert [(tmp_path / f"run.old-{number}" / "file").read_text() for number in (1, 2, 3)] == ["1", "2", "3"]


def test_a_link_stays(tmp_path: Path) -> None:
    (tmp_path / "disk" / "run").mkdir(parents=True)
    (tmp_path / "disk" / "run" / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "run")
    move_aside(tmp_path / "link")
    assert (tmp_path / "disk" / "run.old-1" / "file").is_file()
    assert list((tmp_path / "link").iterdir()) == []


def test_what_cannot_be_moved_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="absent: cannot be moved"):
        move_aside(tmp_path / "absent")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    assert move_aside(Path("run")) == Path("run.old-1")


def test_json_that_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == 1


def test_binary_and_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a.bin", binary=True) as file:
            file.write(b"\x00\xff")
    finally:
        os.umask(before)
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o640


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), replacing(tmp_path / "file" / "a.txt"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_json(tmp_path / "folder", 1)


def test_a_cell_that_begins_a_formula_is_defused_and_read_again(subtests: pytest.Subtests) -> None:
    for sign in "=+-@\uff1d\uff0b\uff0d\uff20\t\r\n":
        with subtests.test(sign=sign):
            for text in (f"{sign}1+1", f"'{sign}1", f"''{sign}", "'tis", "a=1", "", "'"):
                cell = spreadsheet_cell(text)
                assert not cell.startswith(sign)
                assert plain_cell(cell) == text

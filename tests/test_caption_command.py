"""`vlrnn caption` and `vlrnn export`: what is printed and written, which settings reach the search, and how mistakes
are told."""

import csv
import io
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import forked
import numpy as np
import pytest
import torch
from PIL import Image
from quick import quick

from vlrnn.cli import main
from vlrnn.data.records import Prediction, RecordFile


class Printed(NamedTuple):
    """How a command ended, and the lines that it wrote."""

    code: int
    out: list[str]
    err: list[str]


Caption = Callable[..., Printed]


@pytest.fixture
def caption(checkpoints: Any, capsys: pytest.CaptureFixture[str]) -> Caption:
    """The command, run in this process; with the trained checkpoint when no other is given."""

    def run(*arguments: Any, checkpoint: Path = checkpoints.file) -> Printed:
        capsys.readouterr()
        code = main(["caption", *map(str, arguments), "--checkpoint", str(checkpoint)])
        printed = capsys.readouterr()
        return Printed(code, printed.out.splitlines(), printed.err.splitlines())

    return run


def run_for_real(*arguments: Any, cwd: Path, **more: Any) -> "forked.CompletedProcess[str]":
    command = [sys.executable, "-m", "vlrnn", "caption", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}
    return forked.run(command, cwd=cwd, env=environment, stderr=forked.PIPE, **more)


def cut(path: Path, whole: Path) -> Path:
    """The first half of an image file."""
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return path


def records(printed: Printed) -> list[dict[str, Any]]:
    assert printed.code == 0, printed.err
    return [json.loads(line) for line in printed.out]


# What is captioned.


def test_one_image(caption: Caption, photos: Path) -> None:
    printed = caption(photos / "a.png")
    assert printed.code == 0
    assert printed.err == []
    assert len(printed.out) == 1
    name, _, text = printed.out[0].partition(": ")
    assert name == str(photos / "a.png")
    assert "red" in text


def test_several_images_and_folders_in_the_order_given(caption: Caption, photos: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    (more / "inner").mkdir(parents=True)
    shutil.copy(photos / "a.png", more / "z.png")
    shutil.copy(photos / "b.png", more / "inner" / "b.PNG")
    (more / "notes.txt").write_text("no image")
    printed = caption(photos / "c.png", more, photos / "a.png", "--batch_size", 3)
    assert (printed.code, printed.err) == (0, [])
    expected = [photos / "c.png", more / "inner" / "b.PNG", more / "z.png", photos / "a.png"]
    assert [line.partition(": ")[0] for line in printed.out] == [str(path) for path in expected]


def test_a_bad_image_in_a_folder_is_reported_and_the_others_captioned(
    photos: Path, checkpoints: Any, tmp_path: Path
) -> None:
    """On the real command line."""
    cut(photos / "broken.png", photos / "a.png")
    done = run_for_real("photos", "--checkpoint", checkpoints.file, cwd=tmp_path, stdout=forked.PIPE)
    assert done.returncode == 0
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == [f"photos/{name}.png" for name in "abc"]
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("vlrnn caption: photos/broken.png: ")


@pytest.mark.parametrize("kind", quick(["cut", "text", "empty", "absent"], "cut", "absent"))
def test_a_bad_image_that_was_named_is_reported_and_the_others_captioned(
    caption: Caption, photos: Path, tmp_path: Path, kind: str
) -> None:
    bad = tmp_path / "bad.png"
    if kind == "cut":
        cut(bad, photos / "a.png")
    elif kind != "absent":
        bad.write_text("no image" if kind == "text" else "")
    printed = caption(photos / "a.png", bad, photos / "b.png")
    assert printed.code == 2
    assert len(printed.out) == 2
    assert len(printed.err) == 1
    assert printed.err[0].startswith(f"vlrnn caption: {bad}: ")
    alone = caption(bad)
    assert (alone.code, alone.out, alone.err) == (2, [], printed.err)
    assert caption(bad, photos).code == 2


def test_a_good_image_named_with_a_folder_with_a_bad_one(caption: Caption, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "a.png", tmp_path / "good.png")
    cut(photos / "broken.png", photos / "a.png")
    printed = caption(tmp_path / "good.png", photos)
    assert (printed.code, len(printed.out), len(printed.err)) == (0, 4, 1)


def test_nothing_but_bad_images(caption: Caption, photos: Path, tmp_path: Path) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"no image")
    existing = tmp_path / "kept.json"
    existing.write_text("earlier")
    printed = caption(photos, "--out", existing, "--overwrite")
    assert (printed.code, printed.out, len(printed.err)) == (2, [], 3)
    assert existing.read_text() == "earlier"
    assert list(tmp_path.glob("kept*")) == [existing]


def test_an_empty_folder(caption: Caption, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    for arguments in ([tmp_path / "nothing"], [photos, tmp_path / "nothing"]):
        printed = caption(*arguments)
        assert (printed.code, printed.out, len(printed.err)) == (2, [], 1)
        assert "nothing: no images" in printed.err[0]


def test_images_of_every_kind(caption: Caption, photos: Path) -> None:
    plain = Image.open(photos / "a.png")
    plain.convert("CMYK").save(photos / "print.jpg")
    plain.convert("RGBA").save(photos / "alpha.png")
    plain.quantize(4).save(photos / "palette.png", transparency=0)
    Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64).save(photos / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 8
    plain.save(photos / "turned.jpg", exif=exif)
    Image.new("L", (1, 3000)).save(photos / "thin.png")
    printed = caption(photos)
    assert (printed.code, len(printed.out), printed.err) == (0, 9, [])


def test_a_decompression_bomb_is_reported(caption: Caption, photos: Path) -> None:
    Image.new("1", (30_000, 8_000)).save(photos / "bomb.png")
    printed = caption(photos)
    assert (printed.code, len(printed.out), len(printed.err)) == (0, 3, 1)
    assert "bomb.png: more than" in printed.err[0]
    assert caption(photos / "bomb.png").code == 2


# What is printed and written.


def test_json_lines_are_records(caption: Caption, photos: Path) -> None:
    found = records(caption(photos, "--json", "--num_beams", 3, "--num_return_sequences", 3))
    assert len(found) == 3
    for record in found:
        assert list(record) == [field.name for field in fields(Prediction)]
        assert Path(record["image_id"]).is_file()
        assert len(record["log_probs"]) == len(record["tokens"]) + 1
        assert len(record["alternatives"]) == 2


def test_n_best_stand_in_the_order_of_their_scores(caption: Caption, photos: Path) -> None:
    flags = ("--num_beams", 4, "--num_return_sequences", 4)
    for record in records(caption(photos, "--json", *flags)):
        scores = [record["score"], *(each["score"] for each in record["alternatives"])]
        assert scores == sorted(scores, reverse=True)
        texts = [record["text"], *(each["text"] for each in record["alternatives"])]
        assert len(set(texts)) == 4
    printed = caption(photos / "a.png", *flags)
    assert len(printed.out) == 4
    shown = [float(line.split()[0]) for line in printed.out[1:]]
    assert shown == sorted(shown, reverse=True)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
def test_out_is_written_whole(caption: Caption, photos: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "new" / f"captions{suffix}"
    out.parent.mkdir()
    out.write_text("what stood there before, and is longer than what comes\n" * 100)
    flags = ("--num_beams", 2, "--num_return_sequences", 2, "--overwrite")
    expected = records(caption(photos, "--json", "--out", out, *flags))
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    if suffix == ".csv":
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["image", "rank", "caption", "score"]
        assert [row["rank"] for row in rows] == ["1", "2"] * 3
        assert [row["image"] for row in rows[::2]] == [record["image_id"] for record in expected]
        assert [row["caption"] for row in rows[::2]] == [record["text"] for record in expected]
        assert [row["caption"] for row in rows[1::2]] == [record["alternatives"][0]["text"] for record in expected]
        assert float(rows[0]["score"]) == pytest.approx(expected[0]["score"], abs=1e-4)
    elif suffix == ".json":
        assert json.loads(out.read_text()) == expected
    else:
        assert [each.text for each in RecordFile(out, Prediction)] == [record["text"] for record in expected]


def test_a_wrong_ending_is_refused_before_any_work(caption: Caption, tmp_path: Path) -> None:
    printed = caption(tmp_path / "absent.png", "--out", "captions.txt", checkpoint=tmp_path / "absent.ckpt")
    assert printed.code == 2
    assert printed.err == ["vlrnn caption: --out captions.txt: end the name in .csv, .json or .jsonl"]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
def test_a_file_name_that_is_no_unicode(caption: Caption, photos: Path, tmp_path: Path, suffix: str) -> None:
    (photos / "a.png").rename(photos / os.fsdecode(b"caf\xe9.png"))
    found = records(caption(photos, "--json", "--out", tmp_path / f"captions{suffix}"))
    assert [Path(each["image_id"]).name for each in found] == ["b.png", "c.png", "caf\ufffd.png"]


HOSTILE = "\x1b[2J\x9b31m\n\u202e"


def test_words_and_names_from_outside_are_shown_escaped(
    caption: Caption, photos: Path, checkpoints: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of images and of the checkpoint, words of its vocabulary, and what errors tell of them."""
    evil = tmp_path / f"evil{HOSTILE}"
    shutil.copytree(checkpoints.folder, evil)
    config = (evil / "config.json").read_text()
    (evil / "config.json").write_text(config.replace('"square"', json.dumps(f"square{HOSTILE}")))
    (photos / "a.png").rename(photos / f"a{HOSTILE}.png")
    cut(photos / f"cut{HOSTILE}.png", photos / "b.png")
    capsys.readouterr()
    for flags in ((), ("--json",), ("--num_beams", 2, "--num_return_sequences", 2)):
        printed = caption(photos, *flags, checkpoint=evil)
        assert printed.code == 0
        assert len(printed.err) == 1
        assert len(printed.out) == (6 if "--num_beams" in flags else 3)
        shown = "".join([*printed.out, *printed.err])
        assert not set(HOSTILE[:1] + HOSTILE[4:5] + HOSTILE[-2:]) & set(shown)
        assert "square\\x1b[2J" in shown or "square\\u001b[2J" in shown
    (line,) = caption(photos, checkpoint=tmp_path / f"none{HOSTILE}").err
    assert line.startswith(f"vlrnn caption: {tmp_path}/none\\x1b[2J\\x9b31m\\n\\u202e: ")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_results_are_not_lost_where_stdout_lacks_a_character(
    checkpoints: Any, photos: Path, tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "a.png").rename(photos / "猫.png")
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding))
    out = tmp_path / "captions.json"
    for flags in (["--out", str(out)], ["--json"]):
        assert main(["caption", str(photos), "--checkpoint", str(checkpoints.file), *flags]) == 0
    lines = content.getvalue().decode(encoding).splitlines()
    assert lines[2].startswith(f"{photos}/\\u732b.png: ")
    assert [json.loads(line) for line in lines[3:]] == json.loads(out.read_text("utf-8"))
    assert json.loads(lines[5])["id"] == f"{photos}/猫.png"


# How captions are searched for.


def test_decoding_flags_reach_the_search(caption: Caption, photos: Path) -> None:
    def found(*flags: Any) -> dict[str, Any]:
        (record,) = records(caption(photos / "a.png", "--json", *flags))
        settings = {name.removeprefix("--"): value for name, value in zip(flags[::2], flags[1::2], strict=True)}
        assert record["settings"] == {**record["settings"], **settings}
        return record

    assert found()["settings"]["max_new_tokens"] == 12  # as the model was trained with
    assert len(found("--max_new_tokens", 3)["tokens"]) == 3
    assert len(found("--min_new_tokens", 10)["tokens"]) >= 10
    varied = found("--no_repeat_ngram_size", 1, "--min_new_tokens", 10)["tokens"]
    assert len(set(varied)) == len(varied) >= 10
    summed = found("--num_beams", 3, "--length_penalty", 0.0)
    assert summed["score"] == pytest.approx(sum(summed["log_probs"]), abs=1e-4)
    likeliest = found("--temperature", 3.0, "--top_k", 1)  # which leaves no choice
    assert likeliest["text"] == found("--temperature", 3.0, "--top_p", 1e-6)["text"] == found()["text"]


@pytest.mark.parametrize(("flag", "meant"), [("true", True), ("False", False), ("never", "never")])
def test_when_a_search_stops(flag: str, meant: bool | str, caption: Caption, photos: Path) -> None:
    (record,) = records(caption(photos / "a.png", "--json", "--num_beams", 3, "--early_stopping", flag))
    assert record["settings"]["early_stopping"] == meant


def test_drawing_is_repeated_by_its_seed(caption: Caption, photos: Path) -> None:
    def drawn(seed: int) -> list[str]:
        return caption(photos, "--temperature", 5.0, "--seed", seed).out

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


MISTAKES: list[tuple[list[Any], str]] = [
    (["--num_beams", 0], "num_beams"),
    (["--num_beams", 10**6], "num_beams must be a whole number from 1 to 1,000, not 1000000"),
    (["--max_new_tokens", 10**9], "max_new_tokens must be a whole number from 1 to 100,000"),
    (["--early_stopping", "always"], 'early_stopping must be true, false or "never"'),
    (["--num_beams", 2, "--temperature", 1.0], "one of the two"),
    (["--num_return_sequences", 3], "num_beams"),
    (["--top_k", 3], "temperature"),
    (["--top_p", 0.0, "--temperature", 1.0], "top_p"),
    (["--temperature", "nan"], "temperature"),
    (["--min_new_tokens", 40], "max_new_tokens"),
    (["--length_penalty", "inf"], "length_penalty"),
    (["--batch_size", 0], "batch_size"),
    (["--temperature", 1.0, "--seed", 10**20], "seed"),
    (["--device", "nonsense"], "nonsense"),
    (["--num_beams", "many"], "--num_beams"),
    (["--no_such_flag"], "--no_such_flag"),
    (["--explain", "attention.docx"], "attention.docx"),
]


@pytest.mark.parametrize(("flags", "word"), quick(MISTAKES, *MISTAKES[::4]), ids=lambda each: str(each))
def test_settings_that_contradict_each_other(
    caption: Caption, photos: Path, flags: list[Any], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    printed = caption(photos / "a.png", *flags)
    assert printed.code == 2
    assert len(printed.err) == 1
    assert printed.err[0].startswith("vlrnn caption: ")
    assert word in printed.err[0]


# Where the model attention.


def test_explain_writes_a_picture(caption: Caption, photos: Path, tmp_path: Path) -> None:
    printed = caption(photos / "a.png", "--explain", tmp_path / "attention.png")
    assert (printed.code, printed.err) == (0, [])
    with Image.open(tmp_path / "attention.png") as picture:
        assert min(picture.size) > 200
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10


@pytest.mark.parametrize(("name", "begins"), [("attention.svg", b"<?xml"), ("attention.pdf", b"%PDF")])
def test_explain_writes_for_papers(caption: Caption, photos: Path, tmp_path: Path, name: str, begins: bytes) -> None:
    printed = caption(photos / "a.png", "--explain", tmp_path / name)
    assert (printed.code, printed.err) == (0, [])
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_explain_shows_what_was_generated(caption: Caption, photos: Path, tmp_path: Path) -> None:
    """The image, and it again for each word; for the end only where it was said."""
    for limit, pictures in ((2, 1 + 2), (20, 1 + 6 + 1)):  # a red square on the left
        printed = caption(photos / "a.png", "--explain", tmp_path / "attention.svg", "--max_new_tokens", limit)
        assert (printed.code, (tmp_path / "attention.svg").read_text().count("<image ")) == (0, pictures), printed.out


def test_explain_is_refused_for_several_images(caption: Caption, photos: Path, tmp_path: Path) -> None:
    printed = caption(photos, "--explain", tmp_path / "attention.png", checkpoint=tmp_path / "absent.ckpt")
    assert (printed.code, printed.out) == (2, [])
    assert printed.err == ["vlrnn caption: --explain takes one image, not 3"]


def test_explain_is_refused_for_a_decoder_that_does_not_attend(
    caption: Caption, checkpoints: Any, photos: Path, tmp_path: Path
) -> None:
    printed = caption(photos / "a.png", "--explain", tmp_path / "attention.png", checkpoint=checkpoints.plain)
    assert printed.code == 2
    assert len(printed.err) == 1
    assert "has no attention" in printed.err[0]
    assert not (tmp_path / "attention.png").exists()


# Checkpoints.


class Dangerous:
    """Would write a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.path)!r}, 'w')",))


def test_checkpoints_that_are_none(caption: Caption, checkpoints: Any, photos: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "text.ckpt").write_text("these are notes")
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps(Dangerous(ran)))
    torch.save({"state_dict": {}, "vlrnn": Dangerous(ran)}, tmp_path / "zip.ckpt")
    (tmp_path / "half.ckpt").write_bytes(checkpoints.file.read_bytes()[:5000])
    (tmp_path / "nothing").mkdir()
    foreign = tmp_path / "foreign"
    shutil.copytree(checkpoints.folder, foreign)
    config = (foreign / "config.json").read_text()
    (foreign / "config.json").write_text(config.replace("vlrnn.nn.LSTM", "subprocess.Popen"))
    words = {
        "absent.ckpt": "no such file",
        "text.ckpt": "",
        "pickle.ckpt": "",
        "zip.ckpt": "refused",
        "half.ckpt": "",
        "nothing": "not a model folder",
        "foreign": "refused",
    }
    for name, word in words.items():
        printed = caption(photos / "a.png", checkpoint=tmp_path / name)
        assert (printed.code, printed.out, len(printed.err)) == (2, [], 1), name
        assert printed.err[0].startswith(f"vlrnn caption: {tmp_path / name}: ")
        assert word in printed.err[0]
        assert not ran.exists()


def test_an_exported_model_gives_the_same_elsewhere(
    caption: Caption, checkpoints: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another working directory, without the data and the weights that it was trained with."""
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(photos, elsewhere / "mine")
    shutil.copy(checkpoints.file, elsewhere / "model.ckpt")
    monkeypatch.chdir(elsewhere)
    assert main(["export", "--checkpoint", "model.ckpt", "--out", "exported"]) == 0
    assert {path.name for path in Path("exported").iterdir()} == {"README.md", "model.safetensors", "config.json"}
    first = caption("mine", "--json", "--num_beams", 3, checkpoint=Path("model.ckpt"))
    assert len(records(first)) == 3
    assert caption("mine", "--json", "--num_beams", 3, checkpoint=Path("exported")) == first
    assert main(["export", "--checkpoint", "exported", "--out", "again"]) == 0
    for name in ("model.safetensors", "config.json"):
        assert Path("again", name).read_bytes() == Path("exported", name).read_bytes()


def test_export_tells_mistakes_in_one_line(
    checkpoints: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    for checkpoint, out in ((tmp_path / "absent.ckpt", tmp_path / "new"), (checkpoints.file, tmp_path / "file")):
        assert main(["export", "--checkpoint", str(checkpoint), "--out", str(out)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1
        assert printed.err.startswith("vlrnn export: ")
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_closed_pipe_is_no_error(photos: Path, checkpoints: Any) -> None:
    """`vlrnn caption ... | head`, on the real command line."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run_for_real(photos, "--checkpoint", checkpoints.folder, cwd=photos, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")

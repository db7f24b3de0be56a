"""`vlrnn caption --out`: the three formats, and going on where a run was interrupted."""

import csv
import json
import shutil
import sys
from itertools import product
from pathlib import Path
from typing import Any

import forked
import pytest
from quick import quick
from test_caption_command import Caption, caption, cut

from vlrnn.cli import main
from vlrnn.commands.prediction_file import PredictionFile

__all__ = ["caption"]  # a fixture


def test_cells_that_begin_a_formula_are_defused(
    caption: Caption, photos: Path, tmp_path: Path, checkpoints: Any
) -> None:
    names = ["=cmd", "+1", "-1", "@a", "\ta", "\ra", "a=1", "'a"]
    evil = tmp_path / "evil"
    shutil.copytree(checkpoints.folder, evil)
    config = (evil / "config.json").read_text()
    (evil / "config.json").write_text(config.replace('"a"', '"=cmd()"'))
    for name in names:
        shutil.copy(photos / "a.png", photos / f"{name}.png")
    with pytest.MonkeyPatch.context() as here:
        here.chdir(photos)
        given = [f"./{name}.png" for name in names]
        caption(*given, "--out", tmp_path / "captions.csv", "--max_new_tokens", 1, checkpoint=evil)
    with (tmp_path / "captions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [f"'{name}.png" if name[0] in "=+-@\t\r" else f"{name}.png" for name in names]
    assert [row["image"] for row in rows] == expected
    assert {row["caption"] for row in rows} == {"'=cmd()"}
    assert all(float(row["score"]) < 0 for row in rows)


# Going on.


SUFFIXES = (".csv", ".json", ".jsonl")
KINDS = {
    "searched": ("--num_beams", 2, "--num_return_sequences", 2, "--batch_size", 2),
    "drawn": ("--temperature", 3.0, "--seed", 7, "--batch_size", 2),
}


@pytest.fixture
def many(photos: Path) -> Path:
    """Seven images, and one that cannot be read."""
    for number in range(4):
        shutil.copy(photos / f"{'abca'[number]}.png", photos / f"d{number}.png")
    cut(photos / "broken.png", photos / "a.png")
    return photos


@pytest.mark.parametrize(("kind", "suffix"), quick(product(KINDS, SUFFIXES), ("searched", ".json"), ("drawn", ".csv")))
def test_a_run_that_is_gone_on_gives_the_file_of_one(
    caption: Caption, many: Path, tmp_path: Path, kind: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was interrupted: between batches, within one, within a line; several times."""
    flags = (*KINDS[kind], "--out")
    whole, out, partial = (tmp_path / f"{name}{suffix}" for name in ("whole", "out", "out"))
    partial = partial.with_name(f"{partial.name}.partial")
    assert caption(many, *flags, whole).code == 0
    shown = interrupted_after(caption, monkeypatch, 3, many, *flags, out)
    assert [line for line in shown if not line.startswith(" ")] != []
    for cut_off in (5, 0, 1):
        left = partial.read_bytes()
        partial.write_bytes(left[: len(left) - cut_off])
        printed = interrupted_after(caption, monkeypatch, 2, many, *flags, out, "--resume")
        assert not out.exists()
        assert len([line for line in printed if not line.startswith(" ")]) <= 2
    printed = caption(many, *flags, out, "--resume")
    assert printed.code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not partial.exists()


def interrupted_after(caption: Caption, monkeypatch: pytest.MonkeyPatch, count: int, *arguments: Any) -> list[str]:
    """Run the command, with Ctrl-C as soon as it has kept so many results; what it printed."""
    add, left = PredictionFile.add, [None] * count

    def then_interrupt(*given: Any) -> None:
        add(*given)
        left.pop()
        if not left:
            raise KeyboardInterrupt

    with monkeypatch.context() as within:
        within.setattr(PredictionFile, "add", then_interrupt)
        printed = caption(*arguments)
    assert printed.code == 130
    assert printed.err[-1].startswith("interrupted; ")
    assert printed.err[-1].endswith("results: the same command with --resume continues")
    return printed.out


def test_a_kill_leaves_what_was_computed(many: Path, checkpoints: Any, tmp_path: Path, caption: Caption) -> None:
    """On the real command line: killed as soon as a result is printed, and gone on."""
    whole, out = tmp_path / "whole.json", tmp_path / "out.json"
    flags = ("--batch_size", 1, "--out")
    assert caption(many, *flags, whole).code == 0
    command = [sys.executable, "-m", "vlrnn", "caption", many, "--checkpoint", checkpoints.file, *flags, out]
    with forked.Popen(list(map(str, command)), stdout=forked.PIPE, stderr=forked.DEVNULL) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
    assert first.startswith(f"{many}/a.png: ")
    assert not out.exists()
    assert len((tmp_path / "out.json.partial").read_text().splitlines()) >= 2
    (tmp_path / ".out.json.abcd1234.unfinished").write_text("of a kill while the file was written")
    printed = caption(many, *flags, out, "--resume")
    assert printed.code == 0
    assert all(not line.startswith(f"{many}/a.png: ") for line in printed.out)
    assert list(tmp_path.glob(".*")) == []
    assert out.read_bytes() == whole.read_bytes()


def test_results_are_never_replaced_unasked(
    caption: Caption, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, absent = tmp_path / "out.jsonl", tmp_path / "absent.ckpt"
    out.write_text("earlier\n")
    printed = caption(photos, "--out", out, checkpoint=absent)  # before any work
    assert printed == (
        2,
        [],
        [f"vlrnn caption: --out {out}: already exists; --overwrite replaces it, or name another file"],
    )
    printed = caption(photos, "--out", out, "--resume", checkpoint=absent)
    assert printed == (0, [], [f"{out}: is complete, and nothing is done; --overwrite makes it again"])
    interrupted_after(caption, monkeypatch, 1, photos, "--out", out, "--overwrite")
    assert out.read_text() == "earlier\n"
    printed = caption(photos, "--out", out, checkpoint=absent)
    assert (printed.code, printed.out, len(printed.err)) == (2, [], 1)
    assert (
        "out.jsonl.partial holds results of a run that is in progress, or was interrupted; --resume continues"
        in printed.err[0]
    )
    assert caption(photos, "--out", out, "--resume").code == 0
    assert len(out.read_text().splitlines()) == 3
    assert caption(photos, "--out", out, "--overwrite").code == 0
    assert {path.name for path in tmp_path.glob("out*")} == {"out.jsonl"}


@pytest.mark.parametrize("flags", [(), ("--resume",), ("--overwrite",)])
def test_two_do_not_write_one_file(
    caption: Caption, photos: Path, tmp_path: Path, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of them is there first, and though both began at the same time."""
    out, begin = tmp_path / "out.json", PredictionFile.begin
    caption(photos, "--out", tmp_path / "whole.json")

    def another_first(self: PredictionFile, *given: Any) -> None:
        with PredictionFile(out, resume=False, overwrite=False) as other:
            begin(other, *given)
            with monkeypatch.context() as within:
                within.setattr(PredictionFile, "begin", begin)
                assert caption(photos, "--out", out, *flags).code == 2
            before = other.partial.read_bytes()
            try:
                begin(self, *given)
            finally:
                assert other.partial.read_bytes() == before

    with monkeypatch.context() as within:
        within.setattr(PredictionFile, "begin", another_first)
        printed = caption(photos, "--out", out, *flags)
    assert printed == (
        2,
        [],
        [f"vlrnn caption: --out {out}: another process writes it; wait for it, or name another file"],
    )
    assert [path.name for path in tmp_path.glob("out*")] == []
    assert caption(photos, "--out", out, *flags).code == 0
    assert out.read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_what_came_meanwhile_is_not_replaced(
    caption: Caption, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, begin = tmp_path / "out.json", PredictionFile.begin

    def late(self: PredictionFile, *given: Any) -> None:
        out.write_text("of another")
        begin(self, *given)

    monkeypatch.setattr(PredictionFile, "begin", late)
    assert "already exists" in caption(photos, "--out", out).err[0]
    assert out.read_text() == "of another"
    assert [path.name for path in tmp_path.glob("out*")] == ["out.json"]


def test_a_folder_in_the_place_of_the_file_is_refused_ahead_of_the_work(
    caption: Caption, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    out.mkdir()
    for flags in ((), ("--resume",), ("--overwrite",)):
        printed = caption(photos, "--out", out, *flags)
        assert printed == (2, [], [f"vlrnn caption: --out {out}: a folder has this name; name another file"])


@pytest.mark.parametrize("change", quick(["setting", "model", "images", "damage", "no text"], "setting", "damage"))
def test_only_the_same_run_is_gone_on(
    caption: Caption, photos: Path, tmp_path: Path, checkpoints: Any, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, partial = tmp_path / "out.csv", tmp_path / "out.csv.partial"
    interrupted_after(caption, monkeypatch, 2, photos, "--out", out)
    flags: list[Any] = ["--out", out, "--resume"]
    checkpoint = checkpoints.file
    if change == "setting":
        flags += ["--num_beams", 3, "--seed", 2]
        word = "was started with another seed and num_beams; use the same, or --overwrite to start again"
    elif change == "model":
        checkpoint, word = checkpoints.plain, "was started with another model"
    elif change == "images":
        (photos / "b.png").unlink()
        word = f"holds a result of {photos}/b.png, which is not among the images"
    elif change == "damage":
        partial.write_text(partial.read_text().replace('"text"', '"tixt"'))
        word = "out.csv.partial:2: "
    else:
        partial.write_bytes(b"\xff" + partial.read_bytes())
        word = "not UTF-8"
    left = partial.read_bytes()
    printed = caption(photos, *flags, checkpoint=checkpoint)
    assert (printed.code, printed.out, len(printed.err)) == (2, [], 1)
    assert word in printed.err[0]
    assert partial.read_bytes() == left


def test_the_same_model_in_its_other_form_goes_on(
    caption: Caption, photos: Path, tmp_path: Path, checkpoints: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"
    interrupted_after(caption, monkeypatch, 1, photos, photos / "a.png", "--out", out)
    for name in ("0.png", "bb.png"):  # images may come
        shutil.copy(photos / "a.png", photos / name)
    assert caption(photos, photos / "a.png", "--out", out, "--resume", checkpoint=checkpoints.folder).code == 0
    found = [Path(each["id"]).name for each in json.loads(out.read_text())]
    assert found == ["0.png", "a.png", "b.png", "bb.png", "c.png", "a.png"]


def test_going_on_is_of_a_file(caption: Caption, photos: Path) -> None:
    for flag in ("--resume", "--overwrite"):
        printed = caption(photos, flag)
        assert printed == (2, [], ["vlrnn caption: --resume and --overwrite need --out FILE"])
    assert "not allowed with" in caption(photos, "--out", "a.csv", "--resume", "--overwrite").err[0]


# Scoring what was written.


@pytest.mark.parametrize(
    ("references", "suffix"),
    quick(
        product(["file names", "numbers"], [".csv", ".json", ".jsonl"]), ("file names", ".csv"), ("numbers", ".jsonl")
    ),
)
def test_what_was_written_is_scored(
    caption: Caption, photos: Path, tmp_path: Path, suffix: str, references: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """From photographs on: images are known by their files, references by COCO's ids."""
    names = {"a": 1, "b": 20, "c": 300}
    if references == "numbers":
        for name, id in names.items():
            (photos / f"{name}.png").rename(photos / f"COCO_val2014_{id:012}.png")
    flags = ("--num_beams", 2, "--num_return_sequences", 2)
    texts = [json.loads(line)["text"] for line in caption(photos, "--json", *flags).out]
    images: list[dict[str, Any]] = [{"id": id} for id in names.values()]
    if references == "file names":
        images = [{"id": id, "file_name": f"{name}.png"} for name, id in names.items()]
    annotations = [{"image_id": id, "caption": text} for id, text in zip(names.values(), texts, strict=True)]
    truth, out, scores = tmp_path / "truth.json", tmp_path / f"captions{suffix}", tmp_path / "scores.json"
    truth.write_text(json.dumps({"images": images, "annotations": annotations}))
    assert caption(photos, "--out", out, *flags).code == 0
    command = ["score", "captions", "--no-java", "--resamples", "10", "--references", str(truth)]
    assert main([*command, "--predictions", str(out), "--out", str(scores)]) == 0, capsys.readouterr().err
    found = json.loads(scores.read_text())["scores"]["Bleu_1"]
    assert (found["value"], found["n"]) == (pytest.approx(1), 3)

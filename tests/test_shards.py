"""Tar shards: a data set within tar files is the data set, to the bit; what is damaged is told; what was gone through
once is not gone through again."""

import gzip
import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_scripts import Script
from test_datamodule import attached
from torch.utils.data import DataLoader

from vlrnn import sidecar_cache as kept
from vlrnn.data import shards as tars
from vlrnn.data.batches import Batch, collate
from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.feature_cache import open_cache
from vlrnn.data.images import open_image
from vlrnn.data.loaders import GlobalShuffleSampler, UnpaddedSampler
from vlrnn.data.records import open_split
from vlrnn.data.shards import write_shards
from vlrnn.data.split_index import SplitImages
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.sidecar_cache import cached_arrays, cached_json

SMALL = 0.0003
"""MiB: a shard holds two or three pictures."""


@pytest.fixture(scope="module")
def sharded(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("webdataset", reason="needs webdataset, of the extra shards")
    out = tmp_path_factory.mktemp("sharded") / "squares"
    write_shards(dataset, out, SMALL)
    return out


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captions, and questions, several of them about each image."""
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, train=24, val=4, test=4, image_size=32, workers=1)
    return folder


@pytest.fixture
def encoder(classifier_file: Path) -> TorchvisionEncoder:
    return TorchvisionEncoder("mobilenet_v3_small", str(classifier_file), image_size=32).requires_grad_(False)


def epoch(root: Path, encoder: TorchvisionEncoder, **more: Any) -> list[Batch]:
    torch.manual_seed(3)
    return list(attached(VisionLanguageData(str(root), batch_size=3, min_count=1, **more), encoder).train_dataloader())


def same(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other) > 1
    for ours, theirs in zip(one, other, strict=True):
        assert [each.id for each in ours.examples] == [each.id for each in theirs.examples]
        for mine, yours in zip(ours[:4], theirs[:4], strict=True):
            assert (mine is None and yours is None) or torch.equal(mine, yours)


# What is written.


def test_every_image_is_in_a_shard_as_it_was(dataset: Path, sharded: Path) -> None:
    for split in ("train", "val", "test"):
        for before, after in zip(open_split(dataset, split), open_split(sharded, split), strict=True):
            assert after.image.startswith(f"shards/{split}-")
            assert tars.read_file(sharded / after.image) == (dataset / before.image).read_bytes()
            assert (after.id, after.captions) == (before.id, before.captions)
    assert len(list((sharded / "shards").glob("train-*.tar"))) > 2
    assert not list((sharded / "shards").glob(".*.tar"))
    printed, was = (json.loads((folder / "dataset.json").read_text()) for folder in (sharded, dataset))
    assert printed == was


def test_webdataset_reads_the_shards(dataset: Path, sharded: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="needs webdataset, of the extra shards")
    found = {}
    for shard in sorted((sharded / "shards").glob("*.tar")):
        for sample in webdataset.WebDataset(str(shard), shardshuffle=False):
            (record,) = json.loads(sample["json"])
            found[record["id"]] = (sample["png"], record["captions"])
    assert found == {
        each.id: ((dataset / each.image).read_bytes(), list(each.captions))
        for split in ("train", "val", "test")
        for each in open_split(dataset, split)
    }


def test_shards_that_others_wrote_are_read(dataset: Path, tmp_path: Path) -> None:
    """Any tar file that is not compressed, by paths through it."""
    with tarfile.open(tmp_path / "theirs.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(dataset / "images", arcname="./deep/é" + "x" * 120)
    path = tmp_path / "theirs.tar" / ("deep/é" + "x" * 120) / "red_left.png"
    assert np.array_equal(open_image(path), open_image(dataset / "images/red_left.png"))


@pytest.mark.parametrize("kind", ["captions", "vqa"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_those_of_the_folder(
    scenes: Path, kind: str, encoder: TorchvisionEncoder, tmp_path: Path, num_workers: int
) -> None:
    pytest.importorskip("webdataset", reason="needs webdataset, of the extra shards")
    write_shards(scenes / kind, tmp_path / "sharded", SMALL)
    one, other = (epoch(root, encoder, num_workers=num_workers) for root in (scenes / kind, tmp_path / "sharded"))
    assert one[0].images is not None
    same(one, other)


def test_cached_features_are_those_of_the_folder(
    dataset: Path, sharded: Path, encoder: TorchvisionEncoder, tmp_path: Path
) -> None:
    one, other = (epoch(root, encoder, cache=str(tmp_path / root.name)) for root in (dataset, sharded))
    assert one[0].regions is not None
    same(one, other)


@pytest.mark.parametrize("shuffled", [True, False])
def test_every_example_comes_once_in_an_epoch_whatever_the_processes(
    scenes: Path, encoder: TorchvisionEncoder, tmp_path: Path, shuffled: bool
) -> None:
    pytest.importorskip("webdataset", reason="needs webdataset, of the extra shards")
    write_shards(scenes / "captions", tmp_path, SMALL)
    data = attached(VisionLanguageData(str(tmp_path), min_count=1), encoder).train_dataloader().dataset
    came = []
    for rank in range(2):
        torch.manual_seed(3)  # which processes that train together agree on
        sampler = GlobalShuffleSampler(data, 2, rank, 5) if shuffled else UnpaddedSampler(data, 2, rank)  # type: ignore[arg-type]
        loader: DataLoader[Batch] = DataLoader(data, 5, sampler=sampler, num_workers=2, collate_fn=collate)  # type: ignore[arg-type]
        share = [example.id for batch in loader for example in batch.examples]
        assert len(share) == 12
        came += share
    assert sorted(came) == sorted(each.id for each in open_split(scenes / "captions", "train"))


def test_the_script(script: Script, dataset: Path) -> None:
    pytest.importorskip("webdataset", reason="needs webdataset, of the extra shards")
    assert script.run("shards", dataset, "--size", "0.01") == 0
    assert script.printed.splitlines()[0].startswith("train: 8 images in ")
    assert len(script.split("train")) == 8
    for split in ("train", "val"):
        assert script.images(split) == {each.image_id for each in open_split(dataset, split)}
    first = {path.name: path.read_bytes() for path in (script.out / "shards").iterdir()}
    assert script.run("shards", dataset, "--size", "0.01") == 0
    assert {path.name: path.read_bytes() for path in (script.out / "shards").glob("*.tar")} == first
    assert script.run("shards", dataset, "--size", "100") == 0  # fewer: of the old ones none is left
    assert len(list((script.out / "shards").glob("train-*.tar"))) == 1


def test_a_test_that_shares_images_with_train_has_them_once(script: Script, tmp_path: Path, scenes: Path) -> None:
    pytest.importorskip("webdataset", reason="needs webdataset, of the extra shards")
    source = tmp_path / "source"
    shutil.copytree(scenes / "vqa", source)
    (source / "test.jsonl").write_bytes((source / "train.jsonl").read_bytes())
    about = json.loads((source / "dataset.json").read_text())
    images = scenes / "vqa" / about.get("image_root", ".")
    about |= {"images_shared_with_test": 24, "image_root": str(images.resolve())}
    (source / "dataset.json").write_text(json.dumps(about))
    assert script.run("shards", source) == 0
    assert "test: 0 images in" in script.printed
    assert {each.image for each in script.split("test").values()} == {
        each.image for each in script.split("train").values()
    }


def test_mistakes(script: Script, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not a prepared data set" in script.refuses("shards", tmp_path)
    assert "--size must be more than 0" in script.refuses("shards", dataset, "--size", "0")
    lacking = tmp_path / "lacking"
    shutil.copytree(dataset, lacking)
    (lacking / "images/red_left.png").unlink()
    pytest.importorskip("webdataset", reason="needs webdataset, of the extra shards")
    assert "images/red_left.png: no such file" in script.refuses("shards", lacking)
    script.out = dataset
    assert script.run("shards", dataset) == 2
    assert "name another folder" in script.error
    assert (dataset / "dataset.json").is_file()
    script.out = tmp_path / "out"
    monkeypatch.setitem(sys.modules, "webdataset", None)
    assert "pip install 'vlrnn[shards]'" in script.refuses("shards", dataset)


def test_what_is_not_finished_is_no_data_set(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("webdataset", reason="needs webdataset, of the extra shards")
    write_shards(dataset, tmp_path, SMALL)

    def interrupted(path: Path) -> bytes:
        if path.name == "blue_top.png":
            raise KeyboardInterrupt
        return path.read_bytes()

    monkeypatch.setattr("vlrnn.data.shards.read_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_shards(dataset, tmp_path, 1)
    with pytest.raises(UserError, match="not a prepared data set"):
        open_split(tmp_path, "train")


# What is damaged.


@pytest.fixture
def tar(dataset: Path, tmp_path: Path) -> Path:
    """Twelve pictures in a tar file."""
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for path in sorted((dataset / "images").iterdir()):
            file.add(path, arcname=path.name)
    return tmp_path / "a.tar"


def test_damage_is_reported(tar: Path) -> None:
    whole = tar.read_bytes()
    with tarfile.open(tar) as file:
        last = file.getmembers()[-1]
    ways = {
        "cut within an image": whole[: last.offset_data + 10],
        "cut within a header": whole[: last.offset + 100],
        "a header overwritten": whole[: last.offset] + b"x" * 512 + whole[last.offset + 512 :],
        "compressed": gzip.compress(whole),
        "empty": b"",
        "something else": b"no tar file " * 100,
    }
    for name, content in ways.items():
        tar.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.tar") as refusal:
            open_image(tar / last.name)
        assert "copy it again" in str(refusal.value), name
    tar.unlink()
    with pytest.raises(UserError, match="no such file"):
        open_image(tar / last.name)


def test_what_is_missing_or_empty_is_named(tar: Path) -> None:
    with pytest.raises(UserError, match=r"a\.tar/absent\.png: not in this tar file"):
        open_image(tar / "absent.png")
    with tarfile.open(tar, "a") as file:
        file.addfile(tarfile.TarInfo("empty.png"), io.BytesIO())
        folder = tarfile.TarInfo("folder.png")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
    with pytest.raises(UserError, match=r"a\.tar/empty\.png: the file is empty"):
        open_image(tar / "empty.png")
    with pytest.raises(UserError, match=r"folder\.png: not in this tar file"):
        open_image(tar / "folder.png")


def test_another_shard_is_another_content(tar: Path, dataset: Path, tmp_path: Path) -> None:
    """Of images, and of the cache of features."""
    images = {"a": tar / "red_left.png"}
    before = open_image(images["a"])
    first = open_cache(tmp_path / "cache", "train", BlindEncoder(), images).folder
    assert open_cache(tmp_path / "cache", "train", BlindEncoder(), images).folder == first
    with tarfile.open(tar, "w") as file:
        file.add(dataset / "images/blue_top.png", arcname="red_left.png")
    assert not np.array_equal(open_image(images["a"]), before)
    assert open_cache(tmp_path / "cache", "train", BlindEncoder(), images).folder != first


def test_a_folder_may_be_called_like_a_tar_file(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset / "images", tmp_path / "images.tar")
    assert open_image(tmp_path / "images.tar/red_left.png").size == (32, 32)


# What is kept.


def test_a_tar_file_is_gone_through_once(tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[Path] = []
    scan = tars._scan
    monkeypatch.setattr(tars, "_scan", lambda path: gone.append(path) or scan(path))
    for _ in range(2):
        tars._members.cache_clear()  # as in a new process
        open_image(tar / "red_left.png")
        open_image(tar / "blue_top.png")
    assert gone == [tar]


def test_what_is_cached_is_of_the_file_as_it_is(tmp_path: Path) -> None:
    path, made = tmp_path / "a.txt", []

    def length() -> dict[str, np.ndarray]:
        made.append(path.read_text())
        return {"length": np.array(len(made[-1]))}

    path.write_text("one")
    assert cached_arrays(path, "length", length)["length"] == cached_arrays(path, "length", length)["length"] == 3
    assert made == ["one"]
    path.write_text("other")
    assert cached_arrays(path, "length", length)["length"] == 5
    assert len(list((tmp_path / ".index").iterdir())) == 1  # the old one is gone
    before = path.stat()
    (tmp_path / "b.txt").write_text("third")
    os.utime(tmp_path / "b.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(tmp_path / "b.txt", path)  # as large, and as old
    assert cached_arrays(path, "length", length)["length"] == 5
    assert made[-1] == "third"
    assert cached_json(path, "words", lambda: {"a": 1}) == cached_json(path, "words", lambda: {"a": 2}) == {"a": 1}


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut by a byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "a bit": _flipped,
    "no archive": lambda path: path.write_bytes(b"PK no zip file"),
    "other JSON": lambda path: path.write_text("[1]"),
    "nested": lambda path: path.write_text("[" * 100_000),
    "objects": lambda path: np.savez(path.open("wb"), starts=np.array([{}], object), allow_pickle=True),
    "other arrays": lambda path: np.savez(path.open("wb"), other=np.zeros(3)),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_what_is_cached_and_damaged_is_made_anew(
    damage: str, tar: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines of a split, its images and words, and what is in a tar file: each with a line that says so."""
    shutil.copytree(dataset, tmp_path / "data", ignore=shutil.ignore_patterns(".index"))

    def read() -> list[Any]:
        tars._members.cache_clear()  # as in a new process
        data = VisionLanguageData(str(tmp_path / "data"), min_count=1)
        found = [list(open_split(data.root, "train")), list(data._images("train")), data.vocabulary.words]
        return [*found, tars.read_within(tar, "red_left.png")]

    whole = read()
    cached_files = sorted(tmp_path.rglob(".index/*"))
    assert len(cached_files) == 4
    for each in cached_files:
        DAMAGE[damage](each)
    capsys.readouterr()
    assert read() == whole
    printed = capsys.readouterr().err.splitlines()
    assert sorted(printed) == [f"{each}: damaged; it is computed again" for each in cached_files]
    assert read() == whole
    assert not capsys.readouterr().err


def test_where_nothing_can_be_cached_all_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    (tmp_path / ".index").write_text("a file, where the folder would be")
    kept._warn_unwritable.cache_clear()
    for number in range(2):
        assert cached_json(path, "number", lambda number=number: number) == number
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert ".index: cannot be written" in printed


def test_a_split_is_gone_through_once(
    scenes: Path, encoder: TorchvisionEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For its vocabulary, its answers, and its images; then what it is about is known."""
    shutil.copytree(scenes, tmp_path / "scenes", ignore=shutil.ignore_patterns(".index"))
    root = tmp_path / "scenes/vqa"

    def summary() -> list[Any]:
        data = VisionLanguageData(str(root), min_count=1)
        images = SplitImages(open_split(root, "train"))
        return [data.vocabulary.words, data.answers.answers, dict(data.prior.counts), list(images), *images.of_example]

    first = summary()
    examples = list(open_split(root, "train"))
    assert first[3] == list(dict.fromkeys(each.image for each in examples))
    assert [first[3][number] for number in first[4:]] == [each.image for each in examples]

    def read(*_: Any) -> Any:
        raise AssertionError("the split is gone through again")

    monkeypatch.setattr("vlrnn.data.records.RecordFile.__iter__", read)
    assert summary() == first

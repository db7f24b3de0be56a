"""The cache of encoder outputs: the same numbers, never stale, and not lost when making it is interrupted."""

import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quick import quick

from vlrnn.data import feature_cache as features
from vlrnn.data.feature_cache import FeatureCache, open_cache
from vlrnn.data.images import open_image, pixels
from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder

CLASSIFIER = "mobilenet_v3_small"


@pytest.fixture
def encoder(classifier_file: Path) -> TorchvisionEncoder:
    return TorchvisionEncoder(CLASSIFIER, str(classifier_file))


@pytest.fixture
def images(make_dataset: Callable[..., Path], tmp_path: Path) -> dict[str, Path]:
    folder = make_dataset(tmp_path / "squares") / "images"
    return {path.name: path for path in sorted(folder.iterdir())}


class Counting(TorchvisionEncoder):
    """Counts the images that it sees, and may be interrupted."""

    def watch(self, batch_sizes: list[int], until: int = sys.maxsize) -> "Counting":
        def regions(batch: torch.Tensor) -> torch.Tensor:
            if sum(batch_sizes) >= until:
                raise KeyboardInterrupt
            batch_sizes.append(len(batch))
            return TorchvisionEncoder.regions(self, batch)

        self.regions = regions  # type: ignore[method-assign]
        self.folded = lambda bf16, compiled: self  # type: ignore[method-assign]
        return self


def counting(classifier_file: Path, batch_sizes: list[int], until: int = sys.maxsize) -> Counting:
    return Counting(CLASSIFIER, str(classifier_file)).watch(batch_sizes, until)


def test_cached_is_computed(encoder: TorchvisionEncoder, images: dict[str, Path], tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache", "train", encoder, images)
    assert len(cache) == 12
    for name, path in images.items():
        image = torch.from_numpy(pixels(open_image(path), encoder.image_size))[None]
        computed = encoder.regions(image)[0]
        assert cache[name].dtype == np.float16
        assert cache[name].shape == (encoder.num_regions, encoder.feature_dim)
        torch.testing.assert_close(torch.tensor(cache[name]).float(), computed, rtol=1e-2, atol=1e-3)
        context: Context = encoder.context(torch.from_numpy(cache[name].copy())[None])
        assert context.regions.dtype == torch.float32
        torch.testing.assert_close(context.pooled, encoder(image).pooled, rtol=1e-2, atol=1e-3)


def test_a_finished_cache_is_not_made_again(classifier_file: Path, images: dict[str, Path], tmp_path: Path) -> None:
    batch_sizes: list[int] = []
    for _ in range(2):
        open_cache(tmp_path, "train", counting(classifier_file, batch_sizes), images)
    assert sum(batch_sizes) == 12
    again = dict(reversed(images.items()))  # rows are found by name
    first, second = (
        open_cache(tmp_path, "train", counting(classifier_file, batch_sizes), each) for each in (images, again)
    )
    for name in images:
        np.testing.assert_array_equal(first[name], second[name])


def test_two_at_a_time_make_one(classifier_file: Path, images: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    """The second comes while the first encodes, and waits, as processes do."""
    batch_sizes: list[int] = []
    first, second = (counting(classifier_file, batch_sizes) for _ in range(2))
    encode, began = first.regions, threading.Event()

    def slowly(batch: torch.Tensor) -> torch.Tensor:
        began.set()
        time.sleep(0.5)
        return encode(batch)

    first.regions = slowly  # type: ignore[method-assign]
    with ThreadPoolExecutor() as pool:
        one = pool.submit(open_cache, tmp_path, "train", first, images)
        assert began.wait(30)
        other = pool.submit(open_cache, tmp_path, "train", second, images)
    assert sum(batch_sizes) == 12
    assert "another process computes them; waiting" in capsys.readouterr().err
    for name in images:
        np.testing.assert_array_equal(one.result()[name], other.result()[name])


def test_without_locks_it_is_made(
    encoder: TorchvisionEncoder, images: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr("fcntl.flock", refused)
    assert len(open_cache(tmp_path, "train", encoder, images)) == 12


def test_a_stale_cache_is_never_found(classifier_file: Path, images: dict[str, Path], tmp_path: Path) -> None:
    def made() -> int:
        return len(list(tmp_path.glob("cache/*")))

    def cache(**more: object) -> FeatureCache:
        return open_cache(
            tmp_path / "cache", "train", TorchvisionEncoder(CLASSIFIER, str(classifier_file), **more), images
        )

    cache()
    assert made() == 1
    cache()
    assert made() == 1
    cache(image_size=96)
    assert made() == 2
    cache(mean=(0.4, 0.5, 0.5))
    assert made() == 3
    open_cache(tmp_path / "cache", "train", TorchvisionEncoder(CLASSIFIER, image_size=64), images)  # other weights
    assert made() == 4
    first, second = list(images.values())[:2]
    first.write_bytes(second.read_bytes())
    changed = cache()
    assert made() == 5
    names = list(images)
    np.testing.assert_array_equal(changed[names[0]], changed[names[1]])
    os.utime(first, (1, 1))
    cache()
    assert made() == 6
    images.pop(names[3])
    cache()
    assert made() == 7


def test_interrupted_making_goes_on(
    classifier_file: Path,
    images: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(features, "_BATCH", 2)
    batch_sizes: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        open_cache(tmp_path / "cache", "train", counting(classifier_file, batch_sizes, until=6), images)
    assert sum(batch_sizes) == 6
    assert "6 images are stored" in capsys.readouterr().err
    cache = open_cache(tmp_path / "cache", "train", counting(classifier_file, batch_sizes), images)
    assert sum(batch_sizes) == 12  # none twice
    whole = open_cache(tmp_path / "whole", "train", counting(classifier_file, []), images)
    for name in images:
        np.testing.assert_array_equal(cache[name], whole[name])
    assert sorted(path.name for path in cache.folder.iterdir()) == ["index.json", "regions.npy"]


def test_interrupted_before_the_first_image(classifier_file: Path, images: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        open_cache(tmp_path, "train", counting(classifier_file, [], until=0), images)
    batch_sizes: list[int] = []
    open_cache(tmp_path, "train", counting(classifier_file, batch_sizes), images)
    assert sum(batch_sizes) == 12


def test_a_learning_encoder_is_refused(classifier_file: Path, images: dict[str, Path], tmp_path: Path) -> None:
    encoder = TorchvisionEncoder(CLASSIFIER, str(classifier_file), finetune_from="features.9")
    with pytest.raises(UserError, match="the encoder is trained"):
        open_cache(tmp_path, "train", encoder, images)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_unreadable_image_is_named(
    encoder: TorchvisionEncoder, images: dict[str, Path], tmp_path: Path, num_workers: int
) -> None:
    bad = list(images.values())[5]
    bad.write_bytes(b"no image")
    with pytest.raises(UserError, match=f"^{bad}: ") as error:
        open_cache(tmp_path / "cache", "train", encoder, images, num_workers=num_workers)
    assert "\n" not in str(error.value)
    bad.unlink()
    with pytest.raises(UserError, match=f"^{bad}: "):
        open_cache(tmp_path / "cache", "train", encoder, images)


def test_numbers_beyond_float16_are_reported(
    classifier_file: Path, images: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "_BATCH", 4)
    encoder = counting(classifier_file, [])
    watched, calls = encoder.regions, []

    def regions(batch: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        return watched(batch) + (1e6 if len(calls) == 3 else 0.0)  # far from the first

    encoder.regions = regions  # type: ignore[method-assign]
    with pytest.raises(UserError, match="float16"):
        open_cache(tmp_path / "cache", "train", encoder, images)


def test_the_map_is_not_loaded_whole(encoder: TorchvisionEncoder, images: dict[str, Path], tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache", "train", encoder, images)
    row = cache[next(iter(images))]
    base = row
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert base.mode == "r"
    sent = pickle.dumps(cache)  # to a worker process
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent)[next(iter(images))], row)


def test_the_speed_is_reported(
    encoder: TorchvisionEncoder, images: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    open_cache(tmp_path / "cache", "squares", encoder, images)
    printed = capfd.readouterr().err
    assert "features of squares: 12 images encoded in" in printed
    assert printed.rstrip().endswith("/s")


# Damage.


def flipped(path: Path) -> None:
    """A bit of the last row's numbers."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def rewritten(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda path: np.save(path, change(np.load(path)))


MAPS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "by a byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "too long": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "empty": lambda path: path.write_bytes(b""),
    "no array": lambda path: path.write_bytes(b"this is no array at all"),
    "gone": Path.unlink,
    "rows missing": rewritten(lambda regions: regions[:-1]),
    "other shape": rewritten(lambda regions: regions[:, :, :-1]),
    "other type": rewritten(lambda regions: regions.astype(np.float32)),
    "other order": rewritten(np.asfortranarray),
    "objects": lambda path: np.save(path, np.array([{"a": 1}] * 12, object), allow_pickle=True),
    "header": lambda path: path.write_bytes(path.read_bytes().replace(b"'descr'", b"'\xff\xff('")),
}
INDICES: dict[str, Callable[[Path], object]] = {
    "index truncated": lambda path: os.truncate(path, 20),
    "index empty": lambda path: path.write_bytes(b""),
    "index of nothing": lambda path: path.write_text("[]"),
    "index without checksums": lambda path: path.write_text('{"shape": [12]}'),
    "index with fewer": lambda path: path.write_text('{"checksums": [1]}'),
    "index with others": lambda path: path.write_text('{"checksums": ["a", null, {}]}'),
}


def settled(folder: Path) -> bool:
    return sorted(path.name for path in folder.iterdir()) == ["index.json", "regions.npy"]


@pytest.mark.parametrize(
    "damage",
    quick([*MAPS, *INDICES], "truncated", "empty", "other shape", "objects", "index truncated", "index with others"),
)
def test_a_damaged_cache_is_made_anew(
    damage: str,
    classifier_file: Path,
    images: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(features, "_BLOCK", 4)
    batch_sizes: list[int] = []
    cache = open_cache(tmp_path / "cache", "train", counting(classifier_file, batch_sizes), images)
    whole = {name: cache[name].copy() for name in images}
    if damage in MAPS:
        MAPS[damage](cache.folder / "regions.npy")
    else:
        INDICES[damage](cache.folder / "index.json")
    capsys.readouterr()
    again = open_cache(tmp_path / "cache", "train", counting(classifier_file, batch_sizes), images)
    assert sum(batch_sizes) == 24
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == f"features of train: {cache.folder} is damaged; they are computed again"
    for name, regions in whole.items():
        np.testing.assert_array_equal(again[name], regions)
    assert settled(cache.folder)
    open_cache(tmp_path / "cache", "train", counting(classifier_file, batch_sizes), images)
    assert sum(batch_sizes) == 24


def test_of_a_block_that_has_changed_the_rows_are_made_anew(
    classifier_file: Path,
    images: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(features, "_BLOCK", 5)  # 5 + 5 + 2 rows
    batch_sizes: list[int] = []
    cache = open_cache(tmp_path / "cache", "train", counting(classifier_file, batch_sizes), images)
    whole = {name: cache[name].copy() for name in images}
    flipped(cache.folder / "regions.npy")
    capsys.readouterr()
    again = open_cache(tmp_path / "cache", "train", counting(classifier_file, batch_sizes), images)
    assert batch_sizes == [12, 2]
    assert f"{cache.folder} is damaged; 2 of 12 images are computed again" in capsys.readouterr().err
    for name, regions in whole.items():
        np.testing.assert_array_equal(again[name], regions)
    assert settled(cache.folder)


HALF_MADE = [
    *((damage, "regions.npy") for damage in MAPS),
    *((damage, "done.npy") for damage in MAPS if damage not in ("other shape", "other order")),  # one dimension
]


@pytest.mark.parametrize(
    ("damage", "name"), quick(HALF_MADE, ("truncated", "regions.npy"), ("objects", "regions.npy"), ("gone", "done.npy"))
)
def test_what_is_half_made_and_damaged_is_made_from_the_start(
    damage: str,
    name: str,
    classifier_file: Path,
    images: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(features, "_BATCH", 2)
    batch_sizes: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        open_cache(tmp_path / "cache", "train", counting(classifier_file, batch_sizes, until=6), images)
    (folder,) = (tmp_path / "cache").iterdir()
    MAPS[damage](folder / name)
    cache = open_cache(tmp_path / "cache", "train", counting(classifier_file, batch_sizes), images)
    assert sum(batch_sizes) == 6 + 12
    assert settled(folder)
    whole = open_cache(tmp_path / "whole", "train", counting(classifier_file, []), images)
    for image in images:
        np.testing.assert_array_equal(cache[image], whole[image])


def test_processes_of_a_training_verify_it_once(
    encoder: TorchvisionEncoder, images: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cache(tmp_path, "train", encoder, images)
    calls: list[int] = []
    monkeypatch.setattr(features, "_checksums", lambda regions: calls.append(1) or [])
    open_cache(tmp_path, "train", encoder, images, verify=False)
    assert not calls

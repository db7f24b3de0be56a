"""Cache of a frozen encoder's regions: a float16 memory map on disk with one row per image.

The name of its folder is a digest of all inputs: the encoder's arguments and weights, and the names, sizes and times of
the image files; a stale cache is therefore never opened. `index.json` has a checksum (CRC-32) of each block of rows;
damaged blocks are computed again.
"""

import hashlib
import json
import math
import os
import shutil
import time
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch.utils.data import DataLoader

from vlrnn.data.images import open_image, pixels
from vlrnn.data.shards import stamp
from vlrnn.errors import UserError
from vlrnn.files import read_json, replacing, write_json
from vlrnn.nn.encoders.base import Encoder
from vlrnn.processes import alone
from vlrnn.progress import print_progress, progress, span

_BATCH = 32
_BLOCK = 32  # rows of a checksum


class FeatureCache:
    """Regions of images, read from disk on access. Each worker process opens its own memory map.

    Args:
        folder: of the complete cache.
        images: the names of the images, in the order of the rows.
    """

    def __init__(self, folder: Path, images: Sequence[str]) -> None:
        self.folder = folder
        self._rows = {image: row for row, image in enumerate(images)}
        self._map: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, image: str) -> np.ndarray:
        """The regions [N, D] of an image, float16."""
        if self._map is None:
            self._map = np.load(self.folder / "regions.npy", mmap_mode="r")
        return self._map[self._rows[image]]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}


def open_cache(
    root: str | Path,
    name: str,
    encoder: Encoder,
    images: Mapping[str, Path],
    *,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
    bf16: bool = False,
    compiled: bool = False,
    verify: bool = True,
) -> FeatureCache:
    """Open the cache of these images for this encoder; missing and damaged rows are computed first.

    Progress is printed. After an interruption the next call resumes. If several processes need the same cache, one
    computes it and the others wait.

    Args:
        root: the folder of all caches.
        name: of the split, for messages and the folder.
        encoder: frozen.
        images: image name -> file.
        num_workers: processes that decode images.
        device: of the encoder.
        bf16, compiled: as of `Encoder.folded`; with bfloat16 the values differ, and so does the cache.
        verify: compare the checksums of a complete cache, which reads all of it.

    Raises:
        UserError: the encoder is trained, or an image cannot be read.
    """
    if not encoder.frozen:
        raise UserError("data.cache: the encoder is trained, so its outputs change; set data.cache to null")
    folder = Path(root) / f"{name}-{_key(encoder, images)}{'-bf16' if bf16 else ''}"
    shape = (len(images), encoder.num_regions, encoder.feature_dim)
    if _damage(folder, shape, verify) is not None:
        with alone(folder, lambda: print_progress(f"features of {name}: another process computes them; waiting")):
            damage = _damage(folder, shape, verify)  # another process may have computed it meanwhile
            if damage is not None:
                _clear(folder, name, damage)
                folded = encoder.to(device).eval().folded(bf16, compiled)
                _make(folder, name, folded, images, num_workers, torch.device(device))
    return FeatureCache(folder, tuple(images))


def _key(encoder: Encoder, images: Mapping[str, Path]) -> str:
    digest = hashlib.sha256(encoder.fingerprint().encode())
    for image, path in images.items():
        digest.update(json.dumps([image, *stamp(path)]).encode())
    return digest.hexdigest()[:20]


def _open_array(path: Path, dtype: type, shape: tuple[int, ...], mode: Literal["r", "r+"] = "r") -> np.memmap | None:
    """A memory map of an array; None if the file is absent, damaged or of another shape or type."""
    try:
        found = open_memmap(path, mode="r")  # read-only first: other modes extend files that are too short
    except Exception:  # exceptions for broken bytes are undocumented
        return None
    whole = path.stat().st_size == found.offset + found.nbytes
    if not whole or found.dtype != dtype or found.shape != shape or not found.flags.c_contiguous:
        return None
    return found if mode == "r" else open_memmap(path, mode=mode)


def _checksums(regions: np.ndarray) -> list[int]:
    return [zlib.crc32(regions[start : start + _BLOCK].data) for start in range(0, len(regions), _BLOCK)]


def _damage(folder: Path, shape: tuple[int, ...], verify: bool) -> np.ndarray | None:
    """Mask [images] of the missing or damaged rows of a cache; None if it is complete."""
    everything = np.ones(shape[0], np.bool_)
    if not (folder / "index.json").is_file():
        return everything
    try:
        index = read_json(folder / "index.json")
    except UserError:
        return everything
    regions = _open_array(folder / "regions.npy", np.float16, shape)
    written = index.get("checksums") if isinstance(index, dict) else None
    if regions is None or not isinstance(written, list) or len(written) != -(-len(regions) // _BLOCK):
        return everything
    if not verify:
        return None
    differ = [one != other for one, other in zip(written, _checksums(regions), strict=True)]
    return np.repeat(differ, _BLOCK)[: len(regions)] if any(differ) else None


def _clear(folder: Path, name: str, damage: np.ndarray) -> None:
    """Reset a damaged cache to the state of an interrupted one, with its intact rows."""
    if not (folder / "index.json").exists():
        return
    if damage.all():
        _remove(folder / "regions.npy")
        print_progress(f"features of {name}: {folder} is damaged; they are computed again")
    else:
        _save(folder / "done.npy", ~damage)
        print_progress(
            f"features of {name}: {folder} is damaged; {damage.sum()} of {len(damage)} images are computed again"
        )
    _remove(folder / "index.json")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _save(path: Path, array: np.ndarray) -> None:
    with replacing(path, binary=True) as file:
        np.save(file, array)


def _read(paths: Sequence[Path], size: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([pixels(open_image(path), size) for path in paths]))


def _new_map(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A memory map of float16 with its disk space allocated: writing to a map on a full disk kills the process.

    Raises:
        UserError: it cannot be written, or the disk has too little space.
    """
    size = 2 * math.prod(shape)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        regions = open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on every system
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, regions.offset + size)
    except OSError as fault:
        if path.is_file():
            path.unlink()
        reason = f"{fault.strerror or fault}; it takes {size / 2**20:,.1f} MiB"
        raise UserError(f"{path}: cannot be written: {reason}") from None
    return regions


def _make(
    folder: Path, name: str, encoder: Encoder, images: Mapping[str, Path], num_workers: int, device: torch.device
) -> None:
    shape = (len(images), encoder.num_regions, encoder.feature_dim)
    done_path, regions_path = folder / "done.npy", folder / "regions.npy"
    regions = _open_array(regions_path, np.float16, shape, "r+")
    done = _open_array(done_path, np.bool_, shape[:1], "r+")
    if regions is None or done is None:
        _remove(done_path)
        _remove(regions_path)
        regions = _new_map(regions_path, shape)
        _save(done_path, np.zeros(len(images), np.bool_))  # written after the map is complete
        done = open_memmap(done_path, mode="r+")
    left = np.flatnonzero(~done)
    paths = list(images.values())
    loader: DataLoader[torch.Tensor] = DataLoader(
        [paths[row] for row in left],  # type: ignore[arg-type]
        _BATCH,
        num_workers=num_workers,
        collate_fn=partial(_read, size=encoder.image_size),
        generator=torch.Generator(),  # leaves the random state of training unchanged
    )
    began, at = time.monotonic(), 0
    with progress(f"features of {name}", len(images), "images", done=len(images) - len(left)) as advance:
        try:
            for batch in loader:
                with torch.inference_mode():
                    encoded = encoder.regions(batch.to(device)).half().cpu().numpy()
                if not np.isfinite(encoded).all():
                    raise UserError(
                        f"{folder}: the encoder's outputs exceed the range of float16; set data.cache to null"
                    )
                rows = left[at : at + len(batch)]
                regions[rows], at = encoded, at + len(batch)
                done[rows] = True
                advance(len(batch))
        except KeyboardInterrupt:
            print_progress(f"interrupted; {done.sum()} images are stored, and the same command continues from there")
            raise
    seconds = time.monotonic() - began
    speed = len(left) / max(seconds, 1e-6)
    print_progress(f"features of {name}: {len(left):,} images encoded in {span(seconds)}, {speed:.1f}/s")
    regions.flush()
    # Written last: it marks the cache as complete.
    made = {"encoder": encoder.arguments, "shape": shape, "seconds": round(seconds, 1), "encoded": len(left)}
    write_json(folder / "index.json", {**made, "checksums": _checksums(regions)})
    done_path.unlink(missing_ok=True)  # without locks, another process may have computed the same cache

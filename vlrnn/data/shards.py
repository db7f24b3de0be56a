"""Shards: a prepared data set whose images are members of tar files, read by offset.

Split files name images by paths through the tar files, so that shuffling, sharding across processes and counting of
examples are those of an image folder.
"""

import json
import os
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlrnn.data.records import SPLITS, Example, describe_dataset, open_split, to_line, write_dataset
from vlrnn.errors import UserError, accessing, optional, refusing
from vlrnn.files import regular_file
from vlrnn.progress import track
from vlrnn.sidecar_cache import cached_arrays

_BLOCK = 512  # bytes of a block of a tar file


class Members(NamedTuple):
    """The members of a tar file: sorted names (by bytes), and offset and size of the content of each."""

    names: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    def find(self, name: str) -> tuple[int, int] | None:
        """Offset and size of a member; None if there is none."""
        wanted = _encoded(name)
        place = int(self.names.searchsorted(wanted))
        if place == len(self.names) or self.names[place] != wanted:
            return None
        return int(self.starts[place]), int(self.sizes[place])


def split_path(path: str | os.PathLike[str]) -> tuple[Path, str] | None:
    """Tar file and member name of a path through a tar file; None for any other path."""
    outer, through, name = Path(path).as_posix().partition(".tar/")
    tar = Path(f"{outer}.tar")
    return (tar, name) if through and not tar.is_dir() else None


def read_file(path: Path) -> bytes:
    """The content of a file, or of one within a tar file.

    Raises:
        UserError: it cannot be read.
    """
    if within := split_path(path):
        return read_within(*within)
    regular_file(path)
    with accessing(path):
        return path.read_bytes()


def read_within(tar: Path, name: str) -> bytes:
    """The content of a file within a tar file.

    Raises:
        UserError: the tar file does not exist, is damaged or truncated, or has no such member.
    """
    found = members(tar).find(name)
    if found is None:
        raise UserError(f"{tar}/{name}: not in this tar file, which was replaced or damaged; copy it again")
    start, size = found
    with accessing(tar), tar.open("rb") as file:
        file.seek(start)
        content = file.read(size)
    if len(content) < size:
        raise UserError(f"{tar}/{name}: truncated, as the tar file is; copy it again")
    return content


def members(tar: Path) -> Members:
    """The members of a tar file; of several with one name, the last.

    Raises:
        UserError: as of `read_within`.
    """
    return _members(tar, stamp(tar))


def stamp(path: str | Path) -> tuple[int, int]:
    """Size in bytes and modification time in ns of a file, or of the tar file that contains it, to detect changes.

    Raises:
        UserError: it does not exist, or is no regular file.
    """
    within = split_path(path)
    status = regular_file(within[0] if within else path)
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1024)
def _members(tar: Path, stamped: tuple[int, int]) -> Members:
    return Members(**cached_arrays(tar, "members", lambda: _scan(tar)._asdict()))


def _scan(tar: Path) -> Members:
    places: dict[bytes, tuple[int, int]] = {}
    hint = "; copy it again, and unpack it if it is compressed"
    with refusing(f"{tar}: not a whole tar file", hint=hint), tarfile.open(tar, "r:") as file:
        end = 0
        while (member := file.next()) is not None:
            if member.offset_data <= end:  # a forged size could cause an endless loop
                raise tarfile.ReadError(f"unexpected offset {member.offset_data}")
            end = member.offset_data
            if member.isreg() and not member.issparse():
                places[_encoded(member.name)] = end, member.size
        with tar.open("rb") as content:  # Python takes an invalid header for the end of a tar file
            content.seek(file.offset)
            if any(content.read(_BLOCK)):
                raise tarfile.ReadError(f"damaged at byte {file.offset:,}")
    names = np.array(sorted(places), np.bytes_)
    starts, sizes = np.array([places[name] for name in sorted(places)], np.int64).reshape(-1, 2).T
    return Members(names, starts, sizes)


def _encoded(name: str) -> bytes:
    return name.removeprefix("./").encode("utf-8", "surrogateescape")


def write_shards(source: Path, out: Path, mebibytes: float = 1024) -> dict[str, tuple[int, int]]:
    """Copy a prepared data set with its images in `shards/SPLIT-NUMBER.tar`. `dataset.json` is written last.

    Args:
        source: folder of the prepared data set.
        out: folder of the copy.
        mebibytes: size at which a shard is closed.

    Returns:
        split -> number of images, number of shards.

    Raises:
        UserError: there is no such data set, one of its images cannot be read, or webdataset is not installed.
    """
    about = describe_dataset(source)
    if not mebibytes > 0:
        raise UserError(f"--size must be more than 0, not {mebibytes}")
    if out.resolve() == source.resolve():
        raise UserError(f"{out}: holds the data set itself; name another folder for the shards")
    splits = {split: open_split(source, split) for split in SPLITS if (source / f"{split}.jsonl").is_file()}
    image_root = source / about.pop("image_root", ".")
    (out / "dataset.json").unlink(missing_ok=True)
    packed: dict[str, str] = {}  # an image that test shares with train is written once
    counts = {}
    for split, examples in splits.items():
        before = len(packed)
        shards = _pack(split, examples, image_root, out, int(mebibytes * 2**20), packed)
        counts[split] = len(packed) - before, shards
    about.pop("counts", None)
    shares = about.pop("images_shared_with_test", None) is not None
    named = {key: about.pop(key, "unknown") for key in ("name", "source", "licence")}
    moved = {split: [replace(each, image=packed[each.image]) for each in each_of] for split, each_of in splits.items()}
    write_dataset(out, moved, test_shares_images=shares, **named, **about)
    return counts


def _pack(
    split: str, examples: Iterable[Example], image_root: Path, out: Path, size: int, packed: dict[str, str]
) -> int:
    """Write the shards of a split and record the path of each image; returns the number of shards."""
    webdataset = optional("webdataset", "to write shards", "shards")
    by_image: dict[str, list[dict[str, Any]]] = {}
    for each in examples:
        if each.image not in packed:
            by_image.setdefault(each.image, []).append(json.loads(to_line(each)))
    folder = out / "shards"
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob(f"{split}-*.tar"), *folder.glob(f".{split}-*.tar")]:
        old.unlink()

    def finished(unfinished: str) -> None:
        os.replace(unfinished, folder / Path(unfinished).name.removeprefix("."))

    pattern = str(folder).replace("%", "%%") + f"/.{split}-%06d.tar"
    settings = {"maxcount": 2**62, "maxsize": size, "verbose": 0, "post": finished, "encoder": False, "mtime": 0}
    with webdataset.ShardWriter(pattern, **settings) as writer:
        for number, (image, records) in enumerate(track(by_image.items(), f"packing {split}", unit="images")):
            key, kind = f"{number:09}", Path(image).suffix.lower().removeprefix(".") or "image"
            content = {kind: read_file(image_root / image), "json": json.dumps(records, ensure_ascii=False).encode()}
            writer.write({"__key__": key, **content})
            packed[image] = f"shards/{Path(writer.fname).name.removeprefix('.')}/{key}.{kind}"
        return int(writer.shard)

"""Shards: a prepared data set whose images lie in tar files. Knows no tensors.

Its split files name images by paths through the tar files, which `tars` reads by offset. So every image is as near as
in a folder, and nothing else need know: examples are shuffled, dealt out to processes and counted as ever.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlrnn.data.tars import read_file
from vlrnn.errors import UserError
from vlrnn.progress import track
from vlrnn.records import SPLITS, Example, describe_dataset, open_split, to_line, write_dataset


def write_shards(source: Path, out: Path, mebibytes: float = 1024) -> dict[str, tuple[int, int]]:
    """Write a prepared data set anew, its images in `shards/SPLIT-NUMBER.tar`. Until all is written, the folder is no
    data set.

    Args:
        source: of the prepared data set.
        out: the folder for the new one.
        mebibytes: a shard is closed when it is as large.

    Returns:
        split -> number of images, number of shards.

    Raises:
        UserError: there is no such data set, one of its images cannot be read, or webdataset is not installed.
    """
    about = describe_dataset(source)
    if not mebibytes > 0:
        raise UserError(f"--size must be more than 0, not {mebibytes}")
    if out.resolve() == source.resolve():
        raise UserError(f"{out}: holds the data set itself; name another folder for the one of shards")
    splits = {split: open_split(source, split) for split in SPLITS if (source / f"{split}.jsonl").is_file()}
    image_root = source / about.pop("image_root", ".")
    (out / "dataset.json").unlink(missing_ok=True)
    packed: dict[str, str] = {}  # an image that a test shares with train is not written twice
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
    """Write the shards of a split, and note where each image is; returns how many."""
    try:
        from webdataset import ShardWriter
    except ImportError:
        raise UserError("to write shards needs webdataset: pip install 'vlrnn[shards]'") from None
    told: dict[str, list[dict[str, Any]]] = {}
    for each in examples:
        if each.image not in packed:
            told.setdefault(each.image, []).append(json.loads(to_line(each)))
    folder = out / "shards"
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob(f"{split}-*.tar"), *folder.glob(f".{split}-*.tar")]:
        old.unlink()

    def finished(unfinished: str) -> None:
        os.replace(unfinished, folder / Path(unfinished).name.removeprefix("."))

    pattern = str(folder).replace("%", "%%") + f"/.{split}-%06d.tar"
    with ShardWriter(pattern, maxcount=2**62, maxsize=size, verbose=0, post=finished, encoder=False, mtime=0) as writer:
        for number, (image, records) in enumerate(track(told.items(), f"packing {split}", unit="images")):
            key, kind = f"{number:09}", Path(image).suffix.lower().removeprefix(".") or "image"
            content = {kind: read_file(image_root / image), "json": json.dumps(records, ensure_ascii=False).encode()}
            writer.write({"__key__": key, **content})
            packed[image] = f"shards/{Path(writer.fname).name.removeprefix('.')}/{key}.{kind}"
        return int(writer.shard)

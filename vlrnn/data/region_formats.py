"""Formats of files of precomputed regions: an index of images by id or file name, and reading of one image.

A folder of `.npz`, one for each image: `x`, `feat` or `features` [N, D], [D, N] or [h, w, D]; `bbox` or `boxes` [N, 4],
`num_bbox`, `image_w`, `image_h`. One `.npz` or `.h5` of all images: `ids` [I], `features` [I, N, D] or [I, D], `boxes`
[I, N, 4], `num_boxes` [I] or `mask` [I, N], `image_w`, `image_h` [I]; or an array, or in `.h5` a group, by image id.
The `.tsv` of bottom-up-attention (Anderson et al. 2018). The `.mat` of Karpathy: `feats` [D, I], in the order of images
of `dataset.json` in the same folder. A folder may have several of these. Nothing is unpickled.
"""

import base64
import os
import re
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from vlrnn.data.formats.base import list_in, object_of
from vlrnn.data.shards import stamp
from vlrnn.errors import UserError, optional, refusing
from vlrnn.files import read_json, regular_file
from vlrnn.progress import progress
from vlrnn.sidecar_cache import cached_arrays

Arrays = Mapping[str, Any]
"""The arrays of one image, or of all images, by the names of `_NAMES`."""
Reader = Callable[[Any], Arrays]
"""Maps the place of an image in an open file to its arrays."""

_NAMES = {
    "features": ("features", "feat", "feats", "x"),
    "boxes": ("boxes", "bbox"),
    "num_boxes": ("num_boxes", "num_bbox"),
    "mask": ("mask",),
    "image_w": ("image_w",),
    "image_h": ("image_h",),
}
"""Our name of an array -> its names in files."""
DAMAGED = "cannot be read, or is damaged"

_COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")


@dataclass(eq=False)
class Source:
    """A file, or a folder of `.npz`: the places of images by id or file name, and a reader.

    Args:
        path: of the file.
        places: image id or file name -> argument of the reader.
        open_file: makes the reader at first use.
        reopen: make a reader in each process, since forked processes share the position in an open file.
    """

    path: Path
    places: Mapping[str, Any]
    open_file: Callable[[], Reader]
    reopen: bool = False
    _reader: Reader | None = None
    _process: int = 0

    def read(self, key: str) -> Arrays:
        """The arrays of an image, by the names of `_NAMES`."""
        if self._reader is None or (self.reopen and self._process != os.getpid()):
            self._reader, self._process = self.open_file(), os.getpid()
        return self._reader(self.places[key])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}


def open_sources(path: str) -> Sequence[Source]:
    """The region files of a path, a file or a folder; indexed once.

    Raises:
        UserError: there is none, or one is damaged.
    """
    root = Path(path)
    return _open(path, (root.stat().st_mtime_ns,) if root.is_dir() else stamp(root))


@lru_cache(maxsize=4)
def _open(path: str, stamped: tuple[int, ...]) -> Sequence[Source]:
    root, sources = Path(path), []
    files = [root]
    if root.is_dir():
        files = sorted(Path(folder, name) for folder, _, names in os.walk(root) for name in names)
        if arrays := [each for each in files if each.suffix == ".npz"]:
            sources.append(_folder(root, arrays))
            files = [each for each in files if each.suffix != ".npz"]
    for file in files:
        for ending, form in _FORMS.items():
            if re.search(ending, file.name):
                with refusing(f"{file}: {DAMAGED}"):
                    sources.append(form(file))
    if not any(source.places for source in sources):
        raise UserError(f"{path}: holds no regions; the forms are .npz, .h5, .tsv and .mat (docs/data.md)")
    return sources


def _folder(root: Path, files: Sequence[Path]) -> Source:
    places: dict[str, Path] = {}
    for file in files:
        if (other := places.setdefault(file.stem, file)) != file:
            raise UserError(f"{root}: both {other} and {file} are of the image {file.stem}; keep one")
    return Source(root, places, _image_reader)


def _image_reader() -> Reader:
    return _read_image


def _read_image(path: Path) -> Arrays:
    regular_file(path)
    with np.load(path) as file:
        return _named(file.files, file.__getitem__)


def _named(names: Collection[str], get: Callable[[str], Any]) -> dict[str, Any]:
    """The arrays of a file, or of a group, by the names of `_NAMES`."""
    firsts = {name: next((each for each in others if each in names), None) for name, others in _NAMES.items()}
    found = {name: get(first) for name, first in firsts.items() if first is not None}
    if "features" not in found:
        others = ", ".join(list(names)[:6]) or "nothing"
        raise ValueError(f"it has none of {', '.join(_NAMES['features'])}, but {others}")
    return found


def _npz(path: Path) -> Source:
    with np.load(path) as file:
        names = file.files
        if "ids" in names:
            return Source(path, _rows(file["ids"]), partial(_read_npz_table, path))
    if set(names) & {spelling for spellings in _NAMES.values() for spelling in spellings}:
        raise UserError(f"{path}: has no 'ids' of its images; of files of one image each, name the folder")
    return Source(path, {name: name for name in names}, partial(_read_npz, path), reopen=True)


def _read_npz(path: Path) -> Reader:
    file = np.load(path)
    return lambda name: {"features": file[name]}


def _read_npz_table(path: Path) -> Reader:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    columns = _named(members, lambda name: _map_member(path, members[name]))
    return partial(_row, columns)


def _map_member(path: Path, member: zipfile.ZipInfo) -> np.ndarray:
    """An array of a `.npz` as a memory map."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise UserError(f"{path}: is compressed, so that it cannot be read an image at a time; write it with np.savez")
    with path.open("rb") as file:
        file.seek(member.header_offset + 26)
        lengths = np.frombuffer(file.read(4), "<u2")  # of the member's name and extra field
        file.seek(member.header_offset + 30 + int(lengths.sum()))
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
        if dtype.hasobject:
            raise UserError(f"{path}: holds Python objects, which are never read")
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")


def _rows(ids: Any) -> dict[str, int]:
    """Id of a table, number or text -> row."""
    ids = np.asarray(ids)
    if ids.ndim != 1:
        raise ValueError(f"its ids are {list(ids.shape)}, not one for each image")
    rows: dict[str, int] = {}
    for row, id in enumerate(ids.tolist()):
        name = id.decode() if isinstance(id, bytes) else str(id)
        if rows.setdefault(name, row) != row:
            raise ValueError(f"the id {name} occurs twice")
    return rows


def _row(columns: Arrays, row: int) -> Arrays:
    return {name: column[row] for name, column in columns.items()}


def _h5(path: Path) -> Source:
    with _h5py().File(path) as file:
        if "ids" in file:
            return Source(path, _rows(file["ids"][()]), partial(_read_h5_table, path), reopen=True)
        return Source(path, {name: name for name in file}, partial(_read_h5, path), reopen=True)


def _h5py() -> Any:
    return optional("h5py", "to read .h5", "regions")


def _read_h5(path: Path) -> Reader:
    file = _h5py().File(path)

    def read(name: str) -> Arrays:
        node = file[name]
        if hasattr(node, "shape"):  # an array, no group
            return {"features": node[()]}
        return _named(list(node), lambda name: node[name][()])

    return read


def _read_h5_table(path: Path) -> Reader:
    file = _h5py().File(path)
    return partial(_row, _named(list(file), file.__getitem__))


def _tsv(path: Path) -> Source:
    found = cached_arrays(path, "regions", lambda: _index_lines(path))
    starts = found["starts"].tolist()
    return Source(path, {name: starts[row] for name, row in _rows(found["ids"]).items()}, partial(_read_tsv, path))


def _index_lines(path: Path) -> Mapping[str, np.ndarray]:
    """The image id and offset of each line."""
    ids, starts, at = [], [], 0
    with path.open("rb") as file, progress(f"images of {path.name}", regular_file(path).st_size, "bytes") as advance:
        for line in file:
            id = line.partition(b"\t")[0]
            if id.strip() and id != b"image_id":
                ids.append(id)
                starts.append(at)
            at += len(line)
            advance(len(line))
    return {"ids": np.array(ids, np.bytes_), "starts": np.array(starts, np.int64)}


def _read_tsv(path: Path) -> Reader:
    def read(start: int) -> Arrays:
        with path.open("rb") as file:
            file.seek(start)
            cells = file.readline().rstrip(b"\r\n").split(b"\t")
        if len(cells) != len(_COLUMNS):
            raise UserError(f"{path}: a line has {len(cells)} columns, not {', '.join(_COLUMNS)}")
        _, width, height, count, *encoded = cells
        boxes, features = (np.frombuffer(base64.b64decode(each, validate=True), np.float32) for each in encoded)
        found = {"features": features.reshape(int(count), -1), "boxes": boxes.reshape(int(count), 4)}
        return {**found, "image_w": int(width), "image_h": int(height)}

    return read


def _mat(path: Path) -> Source:
    listed = [path.with_name("dataset.json"), *sorted(path.parent.glob("dataset_*.json"))]
    order = next((each for each in listed if each.is_file()), None)
    if order is None:
        raise UserError(f"{path}: the order of its images is in Karpathy's dataset.json, which is not in its folder")
    images = list_in(read_json(order), "images", f"{order}: not a Karpathy split file")
    names = ("filename", "cocoid")
    entries = (object_of(each, f"{order}: images[{row}]") for row, each in enumerate(images))
    places = {str(each[name]): row for row, each in enumerate(entries) for name in names if name in each}
    with path.open("rb") as file:
        is_hdf5 = b"MATLAB 7.3" in file.read(128)
    return Source(path, places, partial(_read_mat, path, len(images), order, is_hdf5), reopen=is_hdf5)


def _read_mat(path: Path, count: int, order: Path, is_hdf5: bool) -> Reader:
    if is_hdf5:
        features = _h5py().File(path)["feats"]  # transposed: [I, D]
    else:
        scipy = optional("scipy.io", "to read .mat", "regions")
        features = scipy.loadmat(path, variable_names=["feats"])["feats"].T
    if len(features) != count:
        raise UserError(f"{path}: has regions of {len(features):,} images, where {order} lists {count:,}")
    return partial(_row, {"features": features})


_FORMS: dict[str, Callable[[Path], Source]] = {
    r"\.npz$": _npz,
    r"\.(h5|hdf5)$": _h5,
    r"\.tsv(\.\d+)?$": _tsv,
    r"\.mat$": _mat,
}
"""Pattern of the end of a file name -> function that opens it."""

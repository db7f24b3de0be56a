"""Precomputed regions of the images of a split, read from files by image id or file name."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import numpy as np

from vlrnn.data.records import Id
from vlrnn.data.region_formats import DAMAGED, Arrays, Source, open_sources
from vlrnn.data.split_index import SplitImages
from vlrnn.errors import UserError, refusing
from vlrnn.nn.encoders.precomputed import PrecomputedRegions, pack_regions

_TOLERANCE = 0.01
"""Fraction of the image size by which a box may exceed the image."""
_COCO = re.compile(r"(?:COCO_\w+_)?0*(\d+)")
"""File names of COCO, with the image id."""


class RegionFiles:
    """The regions of images in a file or folder, found by image id or file name.

    Args:
        path: the file or folder.
        width: D, of the regions.
        images: image name -> id, of a split, all of which must have regions; None: any image.
        split: its name, for errors.

    Raises:
        UserError: no such file, a file of another format or a damaged one, an image without regions, or regions of the
            first image that do not fit.
    """

    def __init__(self, path: str, width: int, images: Mapping[str, Id] | None = None, split: str = "") -> None:
        self.path = path
        self.width = width
        self._ids = dict(images or {})
        self._sources = open_sources(path)
        self._with_boxes: bool | None = None
        first = next((source, key) for source in self._sources for key in source.places)
        self._with_boxes = self._read(*first).shape[1] > width + 1
        missing = [image for image in self._ids if self._find(image) is None]
        if missing:
            raise UserError(
                f"{path}: has no regions of {len(missing):,} of the {len(self._ids):,} images of {split}, such as "
                f"{missing[0]}"
            )

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, image: str) -> np.ndarray:
        """The regions of an image in the form of `pack_regions`: [N, D + 1], or with boxes [N, D + 5], float32.

        Raises:
            UserError: there are none, or they do not fit.
        """
        found = self._find(image)
        if found is None:
            raise UserError(f"{image}: {self.path} has no regions of an image of this name")
        return self._read(*found)

    def _find(self, image: str) -> tuple[Source, str] | None:
        for name in _names(image, self._ids.get(image)):
            for source in self._sources:
                if name in source.places:
                    return source, name
        return None

    def _read(self, source: Source, key: str) -> np.ndarray:
        where = f"{source.path}: image {key}"
        with refusing(f"{where}: {DAMAGED}"):
            features, boxes = _checked(source.read(key), self.width, where)
        if self._with_boxes is not None and self._with_boxes != (boxes is not None):
            raise UserError(f"{where}: has {'no ' if boxes is None else ''}boxes, unlike the first image")
        return pack_regions(features, boxes)


def open_regions(encoder: PrecomputedRegions, images: SplitImages, split: str) -> RegionFiles:
    """The regions of the images of a split; raises as `RegionFiles`."""
    firsts = map(images.first_example, range(len(images)))
    return RegionFiles(encoder.path, encoder.feature_dim, {each.image: each.image_id for each in firsts}, split)


def _names(image: str, id: Id | None) -> Iterator[str]:
    """Possible keys of an image in a file of regions, most common first."""
    path = PurePosixPath(image)
    if id is not None:
        yield str(id)
    yield from dict.fromkeys((image, path.name, path.stem))
    if number := _COCO.fullmatch(path.stem):
        yield number[1]


def _checked(found: Arrays, width: int, where: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Features [N, D] and boxes [N, 4], as fractions of width and height, of an image."""
    features = np.asarray(found["features"])
    if features.dtype.kind not in "fiu" or not 1 <= features.ndim <= 3:
        raise UserError(f"{where}: its regions are {features.dtype} {list(features.shape)}, not numbers [N, D]")
    features = features.reshape(-1, features.shape[-1]).astype(np.float32)
    if features.shape[1] != width and features.shape[0] == width:  # as in OpenVQA
        features = features.T
    if features.shape[1] != width:
        raise UserError(f"{where}: its regions are {features.shape[1]} wide, not {width}; set encoder.feature_dim")
    present = _present(found, len(features), where)
    features = features[present]
    if not np.isfinite(features).all():
        raise UserError(f"{where}: its regions are not all finite: the file is damaged, or was made by a broken model")
    boxes = found.get("boxes")
    return features, None if boxes is None else _shares(np.asarray(boxes), present, found, where)


def _present(found: Arrays, count: int, where: str) -> np.ndarray:
    """The indices of regions that are not padding."""
    present = np.ones(count, np.bool_)
    if "mask" in found:
        present = np.asarray(found["mask"]).astype(np.bool_)
    elif "num_boxes" in found:
        stated = int(np.asarray(found["num_boxes"]).item())
        present = np.arange(count) < stated
        if stated > count:
            raise UserError(f"{where}: has {count} regions, but num_boxes is {stated}")
    if present.shape != (count,) or not present.any():
        raise UserError(f"{where}: has no region, or a mask of other regions")
    return np.flatnonzero(present)


def _shares(boxes: np.ndarray, present: np.ndarray, found: Arrays, where: str) -> np.ndarray:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) <= present[-1] or boxes.dtype.kind not in "fiu":
        raise UserError(
            f"{where}: its boxes are {boxes.dtype} {list(boxes.shape)}, not (x0, y0, x1, y1) of each region"
        )
    boxes = boxes[present].astype(np.float64)
    sized = "image_w" in found and "image_h" in found
    if sized:
        size = [float(np.asarray(found[name]).item()) for name in ("image_w", "image_h")]
        if not min(size) > 0:
            raise UserError(f"{where}: its image_w and image_h are {size[0]:g} and {size[1]:g}")
        boxes = boxes / [*size, *size]
    if not np.isfinite(boxes).all() or boxes.min() < -_TOLERANCE or (boxes[:, :2] > boxes[:, 2:]).any():
        raise UserError(f"{where}: a box is negative, or is no box (x0, y0, x1, y1)")
    if boxes.max() > 1 + _TOLERANCE:
        reason = "lies outside of the image" if sized else "is in pixels, and image_w and image_h are missing"
        raise UserError(f"{where}: a box {reason}")
    return boxes.clip(0, 1)

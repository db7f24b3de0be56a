"""Safe decoding of untrusted images: any file, or file within a tar file, becomes 8-bit RGB or a `UserError` that names
it. The conversion of pixels is in vlrnn.inference.onnx_captioner, which is also distributed alone; resizing and
normalisation are the encoder's."""

import io
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from vlrnn.data.shards import read_within, split_path
from vlrnn.errors import UserError, reason_of
from vlrnn.files import regular_file
from vlrnn.inference.onnx_captioner import AVIF, FORMATS, LIMITS, Limits, TooLargeError, as_rgb, check_size, opened
from vlrnn.inference.onnx_captioner import pixels as pixels
from vlrnn.progress import print_progress

ImageLike = str | os.PathLike[str] | bytes | IO[bytes] | np.ndarray | Image.Image
"""An image, in any of the forms that `read_image` takes."""


_READ = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
SUFFIXES = frozenset((*_READ, ".avif") if AVIF else _READ)
"""Suffixes of images, in lower case."""

_CAMERAS = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2")
_OTHERS = (".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".svg", ".psd", ".tga", ".exr")
UNREAD = frozenset((*_CAMERAS, *_OTHERS)) - SUFFIXES
"""Suffixes of images that cannot be read; in a folder they are left out, with a message."""


def open_image(path: str | os.PathLike[str], limits: Limits = LIMITS, min_side: int | None = None) -> Image.Image:
    """Decode an image file to RGB as it is displayed.

    EXIF rotation is applied, transparency is composed over white, CMYK and palettes are converted, 16-bit grey is
    scaled to 8 bits (not clipped), and of an animation the first frame is taken.

    Args:
        path: of the file, also within a tar file.
        limits: of its size.
        min_side: if given, a JPEG is decoded at a half, a quarter or an eighth of its size as long as neither side
            becomes shorter than this: faster and in less memory; pixels differ slightly.

    Raises:
        UserError: no such file; a folder, pipe or device; an empty, truncated or non-image file; or one beyond the
            limits. Names the file.
    """
    return _decoded(_source(path), os.fspath(path), limits, min_side)


def read_image(
    image: ImageLike, name: str = "image", limits: Limits = LIMITS, min_side: int | None = None
) -> Image.Image:
    """Convert an image in any form to RGB, as `open_image` does for a file.

    Args:
        image: the path of a file; its bytes; a binary file object, read to its end; an array of uint8 [height, width,
            3], [height, width] (grey) or [height, width, 4] (alpha); or an image of Pillow.
        name: for errors, if it is no file.
        limits, min_side: as of `open_image`.

    Raises:
        UserError: it is of another form or type, or as of `open_image`.
    """
    if isinstance(image, (str, os.PathLike)):
        return open_image(image, limits, min_side)
    if isinstance(image, Image.Image):
        with _refusing(getattr(image, "filename", "") or name):
            check_size(image, limits)
            return as_rgb(image)
    if isinstance(image, np.ndarray):
        return read_image(_from_array(image, name), name, limits)
    with _refusing(name):  # for example a closed file
        content = image.read() if hasattr(image, "read") else image
    if isinstance(content, str):
        raise UserError(f"{name}: a file that is open as text; open it with 'rb'")
    if not isinstance(content, (bytes, bytearray, memoryview)):
        forms = "a file, its bytes, an image of Pillow, or a numpy array of uint8 [height, width, 3]"
        raise UserError(f"{name}: a {type(image).__name__} is not an image; give {forms}")
    if not content:
        raise UserError(f"{name}: the file is empty")
    return _decoded(io.BytesIO(content), name, limits, min_side)


def check_image(path: str | os.PathLike[str], limits: Limits = LIMITS) -> None:
    """Check that a file can be decoded, at a fraction of the cost of `open_image`. The whole file is read, so that a
    truncated one is detected; a JPEG is decoded at an eighth of its size.

    Raises:
        UserError: as of `open_image`.
    """
    source = _source(path)
    with _refusing(os.fspath(path)), opened(source, limits) as image:
        image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()


def find_images(folder: str | Path) -> list[Path]:
    """All image files of a folder and its subfolders, by suffix, sorted by path.

    Hidden files and folders are left out. Symbolic links to folders are followed; a folder that is reached by several
    paths is listed once, by the path without links. A line is printed for images of formats that cannot be read.

    Raises:
        UserError: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found: list[Path] = []
    unread: Counter[str] = Counter()
    for path in _files(folder):
        suffix = path.suffix.lower()
        if suffix in SUFFIXES and path.is_file():
            found.append(path)
        elif suffix in UNREAD:
            unread[suffix] += 1
    message = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(unread.items()))
    message = message and f"images that cannot be read are left out: {message}; convert them to JPEG or PNG"
    if not found:
        searched = f"looked for {', '.join(sorted(SUFFIXES))}"
        raise UserError(f"{folder}: no images in this folder ({searched}){message and '; '}{message}")
    if message:
        print_progress(f"{folder}: {message}")
    return sorted(found)


def named_images(named: Iterable[str]) -> list[Path]:
    """The files that are named, and the images in the folders that are; raises as `find_images`."""
    return [path for each in named for path in (find_images(each) if Path(each).is_dir() else [Path(each)])]


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder that are not hidden. Links to folders are followed last, and not to a folder that was
    visited: so there are no cycles."""

    def refuse(fault: OSError) -> None:
        raise fault

    waiting, visited = [folder], set[tuple[int, int]]()
    while waiting:
        links = []
        for top in waiting:
            for place, folders, files in os.walk(top, onerror=refuse):
                status = os.stat(place)
                if (status.st_dev, status.st_ino) in visited:
                    folders.clear()
                    continue
                visited.add((status.st_dev, status.st_ino))
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                links += [path for name in folders if (path := Path(place, name)).is_symlink()]
                yield from (Path(place, name) for name in files if not name.startswith("."))
        waiting = links


# Pillow warns about images between its own limit and twice that, which are an error here, and about broken EXIF data,
# which is harmless; and it logs the errors of broken files, which are raised here. The filters are set once, because
# threads share them.
logging.getLogger("PIL").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")


def _decoded(source: str | IO[bytes], name: str, limits: Limits, min_side: int | None) -> Image.Image:
    with _refusing(name), opened(source, limits) as image:
        if min_side is not None:
            image.draft(None, (min_side, min_side))
        return as_rgb(image)


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    try:
        yield
    except TooLargeError as fault:
        raise UserError(f"{name}: {fault}") from None
    except Image.UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        raise UserError(f"{name}: not an image of a known format ({formats}); convert it to JPEG or PNG") from None
    except Exception as fault:  # exceptions for broken bytes are undocumented
        raise UserError(f"{name}: cannot be decoded: {reason_of(fault)}") from None


def _source(path: str | os.PathLike[str]) -> str | IO[bytes]:
    """The source for Pillow: the path of a file, or the content of a file within a tar file."""
    source: str | IO[bytes]
    if within := split_path(path):
        content = read_within(*within)
        source, size = io.BytesIO(content), len(content)
    else:
        source, size = os.fspath(path), regular_file(path).st_size
    if not size:
        raise UserError(f"{path}: the file is empty")
    return source


def _from_array(array: np.ndarray, name: str) -> Image.Image:
    shape = array.shape[:2] if array.shape[2:] == (1,) else array.shape
    if array.dtype != np.uint8 or not array.size or not (len(shape) == 2 or shape[2:] in ((3,), (4,))):
        found = f"{array.dtype} {list(array.shape)}"
        raise UserError(f"{name}: an array of {found} is not an image; give uint8 [height, width, 3]")
    return Image.fromarray(array.reshape(shape))

"""Safe decoding of images from strangers: any file, or file within a tar file, becomes 8-bit RGB or a `UserError` that
names it.

Knows nothing of tensors or models; the encoder owns resizing and normalising.
"""

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vlrnn.data.tars import read_within, split_path
from vlrnn.errors import UserError

MAX_PIXELS = 89_478_485
"""More pixels than this (a quarter of a gigabyte as RGB) is taken for a decompression bomb."""

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
"""The decoders that are tried. Pillow has others that start programs (EPS) or that are little tested."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
"""The endings by which a folder's images are found, whatever their case."""


def open_image(path: str | Path) -> Image.Image:
    """Decode an image file to RGB as a person sees it.

    EXIF rotation is applied, alpha and transparent colours lie on white, CMYK and palettes are converted,
    deeper greys are scaled to 8 bits (not clipped), and of an animation the first frame is taken.

    Raises:
        UserError: no such file, a folder, an empty, truncated or non-image file, or too many pixels; names
            the file.
    """
    with _opened(path) as image:
        image.load()
        return _to_rgb(_upright(image))


def as_seen(image: Image.Image) -> Image.Image:
    """An image that Pillow holds, to RGB, just as `open_image` would have read it from its file.

    Raises:
        UserError: the file behind it cannot be decoded.
    """
    try:
        image.load()
        return _to_rgb(_upright(image))
    except Exception as fault:
        raise UserError(f"{getattr(image, 'filename', '') or 'image'}: cannot be decoded: {_reason(fault)}") from None


def check_image(path: str | Path) -> None:
    """Make sure that a file can be decoded, at a fraction of the cost of `open_image`.

    The whole file is read, so that a truncated one is found; a JPEG is decoded at an eighth of its size.

    Raises:
        UserError: as `open_image`.
    """
    with _opened(path) as image:
        image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()


def find_images(folder: str | Path) -> list[Path]:
    """All image files of a folder and the folders in it, by their suffix, sorted by path; hidden ones not.

    Raises:
        UserError: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise UserError(f"{folder}: no images in this folder (looked for {', '.join(sorted(SUFFIXES))})")
    return found


# Pillow only warns of images between its own limit and twice that, which are an error here, and of broken EXIF data,
# which does no harm; and it logs what is raised here of broken files. Set once and not around each decoding, because
# all threads share the filters of warnings.
logging.getLogger("PIL").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """Open a file, and turn whatever goes wrong while it is decoded into a UserError."""
    source = _source(path)
    try:
        with Image.open(source, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except Image.DecompressionBombError:
        raise UserError(f"{path}: more than {MAX_PIXELS:,} pixels; make the image smaller") from None
    except Image.UnidentifiedImageError:
        raise UserError(f"{path}: not an image of a known format ({', '.join(FORMATS)})") from None
    except Exception as fault:  # what a decoder raises on broken bytes is not documented, and varied
        raise UserError(f"{path}: cannot be decoded: {_reason(fault)}") from None


def _source(path: str | Path) -> str | Path | io.BytesIO:
    """What Pillow is to open: a file that is there, or the content of one within a tar file."""
    if within := split_path(path):
        if content := read_within(*within):
            return io.BytesIO(content)
        raise UserError(f"{path}: the file is empty")
    if not os.path.exists(path):
        raise UserError(f"{path}: no such file")
    if os.path.isdir(path):
        raise UserError(f"{path}: a folder, not an image file")
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        raise UserError(f"{path}: the file is empty")
    return path


def _reason(fault: Exception) -> str:
    return " ".join(str(fault).split()) or type(fault).__name__


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a picture with broken EXIF data is still a picture
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale integer greys by their 16 bits and floats by their unit range, or by what is there."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:
        black, white = low, high
    elif image.mode != "F":
        black, white = 0.0, 65535.0
    else:
        black, white = 0.0, 1.0 if high <= 1 else 255.0 if high <= 255 else high
    scaled = (values - black) * (255.0 / max(white - black, 1e-12))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def pixels(image: Image.Image, size: int) -> np.ndarray:
    """An RGB image as uint8 [3, size, size]: squeezed to a square, so that no border is lost."""
    return np.array(image.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)

"""Small pictures for a page, as data addresses. A file that is no image, or not there, has none."""

import base64
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from vlrnn.data.images import open_image
from vlrnn.errors import UserError
from vlrnn.progress import track


def thumbnails(paths: Sequence[Path], side: int) -> Iterator[str]:
    """The data address of each picture, its longer side `side` pixels at most; empty where there is no picture."""
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside of Python's lock
        made = pool.map(partial(thumbnail, side=side), paths)
        yield from track(made, "pictures", total=len(paths), unit="images")


def thumbnail(path: Path, side: int) -> str:
    try:
        image = open_image(path)
    except UserError:
        return ""
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    image.save(held, "WEBP", quality=70)
    return f"data:image/webp;base64,{base64.b64encode(held.getvalue()).decode()}"

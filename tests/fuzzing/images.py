"""Files that are no image, or an odd one: to caption, to ask about, to prepare, to cache."""

import io
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from fuzzing.mutations import TEXTS, bend_bytes, odd_text
from fuzzing.running import Case
from fuzzing.world import World
from vlrnn.data.images import SUFFIXES

FORMATS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "BMP": ".bmp",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "PPM": ".ppm",
    "MPO": ".mpo",
}
OTHERS = ("ICO", "TGA", "PCX", "JPEG2000", "PDF", "EPS", "ICNS", "SGI")
MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "I"),
    "GIF": ("P", "L", "1", "RGB"),
    "BMP": ("RGB", "L", "P", "1", "RGBA"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("RGB", "CMYK", "F", "I", "I;16", "LAB", "YCbCr", "P", "1", "RGBA"),
    "PPM": ("RGB", "L", "1", "I"),
    "MPO": ("RGB", "L", "CMYK"),
    "AVIF": ("RGB", "RGBA"),
}
if ".avif" in SUFFIXES:  # of this Pillow
    FORMATS["AVIF"] = ".avif"
NAMES = ("odd", "ein Bild", "ünï", "-x", "a" * 200, "\x1b[2J\n\u202e", "=1+1")


def make(random: Random, world: World, folder: Path) -> Case:
    content, suffix = CONTENTS[random.choice(list(CONTENTS))](random)
    if random.random() < 0.2:
        suffix = random.choice((*FORMATS.values(), ".JPEG", ".txt", ""))
    path = folder / f"{random.choice(NAMES)}{suffix}"
    path.write_bytes(content)
    way = random.random()
    if way < 0.6:
        out = str(folder / "out" / f"said{random.choice(('.jsonl', '.json', '.csv'))}")
        flags = ["--json"] if random.random() < 0.3 else ["--out", out]
        return Case(["caption", str(path), "--checkpoint", str(world.exported("captioner")), *flags, "--quiet"])
    if way < 0.85:
        checkpoint = str(world.exported(random.choice(("speaker", "classifier"))))
        return Case(["ask", str(path), "what is it?", "--checkpoint", checkpoint, "--json", "--quiet"])
    return _in_a_folder(random, world, folder, path)


def _in_a_folder(random: Random, world: World, folder: Path, path: Path) -> Case:
    """Among good ones: to be prepared, or cached."""
    images = folder / "images"
    shutil.copytree(world.folder / "images", images)
    name = random.choice(sorted(each.name for each in images.glob("test*")))
    path.replace(images / name)
    if random.random() < 0.8:
        table = str(world.files / "captions.csv")
        return Case(["prepare", "folder", str(images), "--captions", table, "--out", str(folder / "out"), "--quiet"])
    shutil.copytree(world.folder / "captions", folder / "captions")
    flags = ["--data.root", str(folder / "captions"), "--data.cache", str(folder / "cache")]
    return Case(["cache", "--config", str(world.recipe("captioner")), *flags, "--quiet"])


def _picture(random: Random, mode: str) -> Image.Image:
    size = random.choice(((1, 1), (7, 3), (32, 32), (64, 48), (1, 300)))
    noise = Random(random.random()).randbytes(size[0] * size[1] * 3)
    picture = Image.frombytes("RGB", size, noise)
    if mode in ("I;16", "I", "F"):
        grey = np.asarray(picture.convert("L"))
        kinds = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
        scale = random.choice((1, 257, 0 if mode != "I" else 65537, 1e38 if mode == "F" else 3))
        return Image.fromarray((grey * np.float64(scale)).astype(kinds[mode]))
    return Image.fromarray(np.asarray(picture)[:, :, 0] > 127) if mode == "1" else _converted(picture, mode)


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        return Image.merge("LAB", picture.split())
    return picture.convert(mode)


def _saved(picture: Image.Image, kind: str, **more: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **more)
    return file.getvalue()


def _good(random: Random) -> tuple[bytes, str]:
    kind = random.choice(list(FORMATS))
    more = {}
    if kind == "JPEG" and random.random() < 0.4:
        exif = Image.Exif()
        exif[0x0112] = random.choice((0, 3, 6, 8, 9, 65535))
        more = {"exif": exif, "progressive": random.random() < 0.5}
    return _saved(_picture(random, random.choice(MODES[kind])), kind, **more), FORMATS[kind]


def _bent(random: Random) -> tuple[bytes, str]:
    content, suffix = _good(random)
    for _ in range(random.choice((1, 1, 1, 4))):
        content = bend_bytes(random, content) if content else content
    return content, suffix


def _cut(random: Random) -> tuple[bytes, str]:
    content, suffix = _good(random)
    return content[: int(len(content) * random.random() ** 2)], suffix


def _moving(random: Random) -> tuple[bytes, str]:
    kind = random.choice(("GIF", "WEBP", "PNG", "TIFF"))
    first, *rest = [_picture(random, "RGB").resize((20, 20)) for _ in range(random.randint(2, 5))]
    content = _saved(first, kind, save_all=True, append_images=rest)
    return content if random.random() < 0.5 else bend_bytes(random, content), FORMATS[kind]


def _other(random: Random) -> tuple[bytes, str]:
    kind = random.choice(OTHERS)
    return _saved(Image.new("RGB", (32, 32), "teal"), kind), random.choice(list(FORMATS.values()))


def _text(random: Random) -> tuple[bytes, str]:
    content = random.choice((*TEXTS, "<svg xmlns='http://www.w3.org/2000/svg'/>", "%!PS-Adobe-3.0", "P6 3 3 255\n"))
    return (content + odd_text(random, 2000)).encode(), random.choice(list(FORMATS.values()))


def _bytes(random: Random) -> tuple[bytes, str]:
    starts = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"RIFF\x00\x00\x00\x00WEBP", b"II*\x00")
    return random.choice(starts) + random.randbytes(random.randint(0, 3000)), random.choice(list(FORMATS.values()))


def _bomb(random: Random) -> tuple[bytes, str]:
    """Few bytes that claim to be, or are, very many pixels."""
    width, height = random.choice(
        ((60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 5), (100_000, 1), (30_000, 2_900), (1, 65_000), (1, 89_000_000))
    )
    kind = random.choice(("PNG", "BMP", "PPM", "GIF", "TIFF"))
    if kind == "PNG":
        lines = min(height, 20_000_000 // max(1, width // 8))
        body = zlib.compress(bytes((width // 8 + 2) * min(lines, 200)))
        return _png(struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), body), ".png"
    if kind == "BMP":
        return _saved(Image.new("RGB", (4, 4)), "BMP").replace(
            struct.pack("<ii", 4, 4), struct.pack("<ii", width, height)
        ), ".bmp"
    if kind == "PPM":
        return f"P{random.choice('1256')} {width} {height} 255\n".encode() + bytes(100), ".ppm"
    if kind == "GIF":
        content = bytearray(_saved(Image.new("P", (4, 4)), "GIF"))
        content[6:10] = struct.pack("<HH", width % 65536, height % 65536)
        return bytes(content), ".gif"
    return _saved(
        Image.new("1", (min(width, 30_000) or 1, min(height, 2_900) or 1)), "TIFF", compression="tiff_lzw"
    ), ".tif"


def _png(header: bytes, body: bytes) -> bytes:
    chunks = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


CONTENTS: dict[str, Callable[[Random], tuple[bytes, str]]] = {
    "bent": _bent,
    "bent more": _bent,
    "cut": _cut,
    "good": _good,
    "moving": _moving,
    "other format": _other,
    "text": _text,
    "bytes": _bytes,
    "bomb": _bomb,
}

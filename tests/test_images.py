"""Any file becomes RGB as a person sees it, or a UserError of one line that names it."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlrnn.data import images
from vlrnn.data.images import check_image, find_images, open_image, pixels
from vlrnn.errors import UserError


def photograph(size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Noise: it does not compress, so that a file cut in half really lacks half the picture."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def refused(path: Path) -> str:
    """The message with which both ways of reading refuse a file; they must agree."""
    with pytest.raises(UserError) as opened:
        open_image(path)
    with pytest.raises(UserError) as checked:
        check_image(path)
    assert str(opened.value) == str(checked.value)
    assert str(path) in str(opened.value)
    assert "\n" not in str(opened.value)
    return str(opened.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".bmp", ".webp", ".tif", ".ppm"])
def test_formats_are_read(tmp_path: Path, suffix: str) -> None:
    image = open_image(saved(photograph(), tmp_path / f"photo{suffix}"))
    assert (image.mode, image.size) == ("RGB", (40, 30))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp"])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(photograph((200, 200)), tmp_path / f"cut{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("these are notes")
    assert "not an image" in refused(text)
    empty = tmp_path / "empty.png"
    empty.touch()
    assert "empty" in refused(empty)
    assert "folder" in refused(tmp_path)
    assert "no such file" in refused(tmp_path / "absent.jpg")


def test_postscript_is_never_run(tmp_path: Path) -> None:
    assert "not an image" in refused(saved(photograph(), tmp_path / "drawing.eps"))


def test_decompression_bomb_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(Image.new("1", (30_000, 4_000)), tmp_path / "bomb.png")
    assert path.stat().st_size < 100_000
    assert "pixels" in refused(path)  # between Pillow's limit, where it warns, and twice that
    path = saved(Image.new("1", (30_000, 8_000)), tmp_path / "larger.png")
    assert "pixels" in refused(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    assert "100 pixels" in refused(saved(photograph(), tmp_path / "photo.png"))


def test_cmyk(tmp_path: Path) -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    got = np.asarray(open_image(saved(red, tmp_path / "red.jpg")))[4, 4]
    assert got[0] > 240
    assert got[1:].max() < 15


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_lies_on_white(tmp_path: Path, mode: str) -> None:
    black = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    black.putpixel((1, 0), (0, 0, 0, 0))
    got = open_image(saved(black.convert(mode), tmp_path / "half.png"))
    assert [got.getpixel((0, 0)), got.getpixel((1, 0))] == [(0, 0, 0), (255, 255, 255)]


def test_transparent_colour_of_a_palette_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    got = open_image(saved(image, tmp_path / "palette.png", transparency=1))
    assert [got.getpixel((0, 0)), got.getpixel((1, 0))] == [(10, 20, 30), (255, 255, 255)]


def test_transparent_colour_of_rgb_lies_on_white(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (1, 1), (1, 2, 3)), tmp_path / "key.png", transparency=(1, 2, 3))
    assert open_image(path).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_greys_are_scaled(tmp_path: Path, suffix: str) -> None:
    greys = np.array([[0, 257, 32896, 65535]], np.uint16)
    got = np.asarray(open_image(saved(Image.fromarray(greys), tmp_path / f"deep{suffix}")))
    assert got[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (got == got[..., :1]).all()


def test_floats_and_wide_integers_are_scaled(tmp_path: Path) -> None:
    unit = np.array([[0, 0.5, 1]], np.float32)
    assert np.asarray(open_image(saved(Image.fromarray(unit), tmp_path / "unit.tif")))[0, :, 0].tolist() == [
        0,
        128,
        255,
    ]
    bytes_ = saved(Image.fromarray(unit * 200), tmp_path / "bytes.tif")
    assert np.asarray(open_image(bytes_))[0, :, 0].tolist() == [0, 100, 200]
    wide = np.array([[-100_000, 0, 100_000]], np.int32)
    assert np.asarray(open_image(saved(Image.fromarray(wide), tmp_path / "wide.tif")))[0, :, 0].tolist() == [
        0,
        128,
        255,
    ]


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 10, 20))  # a bar on the left, to be turned to the top
    exif = Image.Exif()
    exif[0x0112] = 6
    got = open_image(saved(image, tmp_path / "turned.jpg", exif=exif, quality=95))
    assert got.size == (20, 40)
    assert np.asarray(got)[2, 10].min() > 200
    assert np.asarray(got)[30, 10].max() < 50


def test_broken_exif_does_no_harm(tmp_path: Path) -> None:
    path = saved(photograph(), tmp_path / "photo.jpg", exif=b"Exif\0\0II*\0garbage")
    assert open_image(path).size == (40, 30)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    path = saved(red, tmp_path / "moving.gif", save_all=True, append_images=[blue])
    assert open_image(path).getpixel((0, 0)) == (255, 0, 0)


def test_garbage_behind_a_good_header_never_crashes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for form in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"):
        buffer = io.BytesIO()
        photograph().save(buffer, form)
        for trial in range(20):
            data = bytearray(buffer.getvalue())
            for place in rng.integers(8, len(data), 30):
                data[place] = rng.integers(256)
            path = tmp_path / f"{trial}.{form.lower()}"
            path.write_bytes(data)
            with contextlib.suppress(UserError):  # some damage is noticed, some is but another picture
                assert open_image(path).mode == "RGB"


def test_images_are_found_in_folders(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/c.png", "a/.hidden.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == ["a/c.png", "b.JPG"]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images"):
        find_images(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        find_images(tmp_path / "absent")


def test_pixels_are_a_square(tmp_path: Path) -> None:
    got = pixels(photograph(), 16)
    assert (got.shape, got.dtype) == ((3, 16, 16), np.uint8)

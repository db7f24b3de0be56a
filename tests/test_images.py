"""Any file becomes RGB as a person sees it, or a UserError of one line that names it."""

import contextlib
import io
import os
import re
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlrnn.data.images import FORMATS, SUFFIXES, Limits, check_image, find_images, open_image, pixels, read_image
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


def test_formats_are_read(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for suffix in sorted(SUFFIXES):
        with subtests.test(suffix=suffix):
            tmp_path = tmp_path_factory.mktemp("case")
            image = open_image(
                saved(photograph().convert("L" if suffix == ".pgm" else "RGB"), tmp_path / f"photo{suffix}")
            )
            assert (image.mode, image.size) == ("RGB", (40, 30))
            assert find_images(tmp_path) == [tmp_path / f"photo{suffix}"]


def test_of_two_pictures_in_an_mpo_the_first_is_read(tmp_path: Path) -> None:
    """As 3D cameras and some telephones write, by that ending or as `.jpg`."""
    path = tmp_path / "both.mpo"
    Image.new("RGB", (40, 30), "red").save(path, save_all=True, append_images=[Image.new("RGB", (40, 30), "blue")])
    for name in ("both.mpo", "both.jpg"):
        image = open_image(path.rename(tmp_path / name))
        path = tmp_path / name
        assert image.getpixel((9, 9)) == (254, 0, 0)


def test_truncated_file_is_refused(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for suffix in [".jpg", ".png", ".bmp", ".tif", ".webp"]:
        with subtests.test(suffix=suffix):
            tmp_path = tmp_path_factory.mktemp("case")
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
    assert "no such file" in refused(tmp_path / "absent.jpg")


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    """A pipe into which nobody writes would stop everything."""
    pipe, unix_socket = tmp_path / "pipe.png", tmp_path / "socket.png"
    os.mkfifo(pipe)
    (tmp_path / "linked.png").symlink_to(pipe)
    assert "a named pipe, not a regular file" in refused(pipe)
    assert "a named pipe, not a regular file" in refused(tmp_path / "linked.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(unix_socket))
        assert "a socket, not a regular file" in refused(unix_socket)
    assert "a device, not a regular file" in refused(Path("/dev/zero"))
    assert "a folder, not a regular file" in refused(tmp_path)
    with pytest.raises(UserError, match="no images"):
        find_images(tmp_path)
    within_tar = tmp_path / "pipe.tar"
    os.mkfifo(within_tar)
    with pytest.raises(UserError, match=r"pipe.tar: a named pipe, not a regular file"):
        open_image(within_tar / "a.png")


def test_nothing_is_fetched(subtests: pytest.Subtests) -> None:
    for url in ["http://a.org/b.png", "https://a.org/b.png", "s3://a/b.png", "file:///a/b.png"]:
        with subtests.test(url=url):
            for path in (url, Path(url)):
                with pytest.raises(UserError, match="a URL, which is not downloaded; download it") as error:
                    open_image(path)
                assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["a\0b.png", "a" * 5000])
def test_a_name_that_no_file_can_have(name: str) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        open_image(name)


def test_postscript_is_never_run(tmp_path: Path) -> None:
    assert "not an image" in refused(saved(photograph(), tmp_path / "drawing.eps"))


def tall_png(path: Path, width: int, height: int) -> Path:
    """A PNG of black, in bands so that making it takes no memory."""
    packer, row = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    blocks = [packer.compress(row * min(100_000, height - start)) for start in range(0, height, 100_000)]
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b"".join([*blocks, packer.flush()])), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    return path


def never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(_: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)


def test_what_is_too_large_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tall, bomb, larger = (
        tall_png(tmp_path / f"{width}.png", width, height)
        for width, height in ((1, 89_000_000), (30_000, 4_000), (30_001, 8_000))
    )
    assert tall.stat().st_size < 200_000
    never_decoded(monkeypatch)
    assert "a side of more than 65,535 pixels" in refused(tall)
    assert "more than 89,478,485 pixels" in refused(bomb)  # between Pillow's limit, where it warns, and twice that
    assert "more than 89,478,485 pixels" in refused(larger)


def test_the_limits_are_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(photograph(), tmp_path / "photo.png")
    content = path.read_bytes()
    for limits in (Limits(40, 1200), Limits(100, 10_000)):
        assert open_image(path, limits).size == (40, 30)
        check_image(path, limits)
    never_decoded(monkeypatch)
    for limits, message in ((Limits(39, 1200), "a side of more than 39"), (Limits(40, 1199), "more than 1,199 pixels")):
        for form in (path, content, io.BytesIO(content), Image.open(path)):
            with pytest.raises(UserError, match=message):
                read_image(form, limits=limits)
        with pytest.raises(UserError, match=message):
            check_image(path, limits)


def test_a_large_photograph_is_decoded_at_reduced_scale_where_requested(tmp_path: Path) -> None:
    smooth = Image.linear_gradient("L").resize((800, 600)).convert("RGB")
    path = saved(smooth, tmp_path / "photo.jpg", quality=95)
    assert open_image(path).size == (800, 600)
    for least, size in ((600, (800, 600)), (300, (400, 300)), (299, (400, 300)), (70, (100, 75)), (1, (100, 75))):
        reduced = open_image(path, min_side=least)
        assert reduced.size == size
        assert np.abs(pixels(reduced, 32).astype(int) - pixels(smooth, 32)).max() < 8
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(saved(smooth, tmp_path / "turned.jpg", exif=exif), min_side=300).size == (300, 400)
    assert open_image(saved(smooth, tmp_path / "photo.png"), min_side=1).size == (800, 600)


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


def test_16_bit_greys_are_scaled(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for suffix in [".png", ".tif", ".pgm"]:
        with subtests.test(suffix=suffix):
            tmp_path = tmp_path_factory.mktemp("case")
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


def found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_images(folder)]


def test_images_are_found_in_folders(tmp_path: Path) -> None:
    hidden = ("a/.hidden.png", ".ipynb_checkpoints/b-checkpoint.png", "a/.thumbnails/x/c.png", ".a.png")
    for name in ("b.JPG", "a/c.png", "notes.txt", *hidden):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    assert found(tmp_path) == ["a/c.png", "b.JPG"]
    assert find_images(tmp_path / ".ipynb_checkpoints") == [tmp_path / ".ipynb_checkpoints" / "b-checkpoint.png"]


def test_folders_are_found_through_links_each_once(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    for name in (outside / "far.png", folder / "near" / "a.png"):
        name.parent.mkdir(parents=True)
        name.touch()
    (folder / "away").symlink_to(outside)
    (folder / "again").symlink_to(folder / "near")
    (folder / "round").symlink_to(folder)
    (outside / "back").symlink_to(folder)
    (folder / "near" / "up").symlink_to("..")
    (folder / "lost").symlink_to(tmp_path / "absent")
    (folder / "lost.png").symlink_to(tmp_path / "absent.png")
    (folder / "linked.png").symlink_to(outside / "far.png")
    (tmp_path / "entry").symlink_to(folder)
    for entry in (folder, tmp_path / "entry"):
        assert found(entry) == ["away/far.png", "linked.png", "near/a.png"]


def test_images_that_cannot_be_read_are_errors_of_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.HEIC", "b/c.heic", "d.jxl", ".e.heic", "f.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    printed = "images that cannot be read are left out: 2 .heic, 1 .jxl; convert them to JPEG or PNG"
    with pytest.raises(UserError, match=f"no images in this folder .*; {re.escape(printed)}$"):
        find_images(tmp_path)
    assert capsys.readouterr() == ("", "")
    (tmp_path / "good.jpg").touch()
    assert found(tmp_path) == ["good.jpg"]
    assert capsys.readouterr().err == f"{tmp_path}: {printed}\n"


def test_one_that_cannot_be_read_has_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500))
    assert "AVIF" not in FORMATS or "AVIF); convert it to JPEG or PNG" in refused(path)


# Images that are no files.


def test_an_image_in_any_form_is_read_as_its_file(tmp_path: Path) -> None:
    image = photograph()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    path = saved(image, tmp_path / "photo.png")
    expected = open_image(path).tobytes()
    content = path.read_bytes()
    with path.open("rb") as file, Image.open(path) as opened:
        forms = (
            path,
            str(path),
            content,
            bytearray(content),
            io.BytesIO(content),
            file,
            opened,
            image,
            np.array(image),
        )
        assert [read_image(form).tobytes() for form in forms] == [expected] * len(forms)


def test_arrays_of_bytes_are_images(subtests: pytest.Subtests) -> None:
    for shape in [(30, 40), (30, 40, 1), (30, 40, 3)]:
        with subtests.test(shape=shape):
            array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
            got = np.asarray(read_image(array))
            assert (got == array.reshape(30, 40, -1)).all()
            assert (np.asarray(read_image(array[:, ::-1])) == got[:, ::-1]).all()


NO_IMAGES: list[tuple[object, str]] = [
    (np.zeros((3, 30, 40), np.uint8), r"uint8 \[3, 30, 40\] is not an image"),
    (np.zeros((30, 40, 3), np.float32), r"float32 \[30, 40, 3\] is not an image"),
    (np.zeros((30, 40, 3), bool), "bool"),
    (np.zeros((0, 40, 3), np.uint8), r"\[0, 40, 3\]"),
    (np.zeros((2, 30, 40, 3), np.uint8), r"\[2, 30, 40, 3\]"),
    (["a.png"], "a list is not an image; give a file"),
    (None, "a NoneType is not an image"),
    (7, "a int is not an image"),
    (b"", "empty"),
    (b"text", "not an image"),
    (io.BytesIO(), "empty"),
    (io.StringIO("text"), "open it with 'rb'"),
]


def test_other_forms_are_refused_in_one_line(subtests: pytest.Subtests) -> None:
    for form, message in NO_IMAGES:
        with subtests.test(form=form, message=message):
            with pytest.raises(UserError, match=message) as refusal:
                read_image(form, "image 3")  # type: ignore[arg-type]
            assert str(refusal.value).startswith("image 3: ")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images"):
        find_images(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        find_images(tmp_path / "absent")


def test_pixels_are_a_square(tmp_path: Path) -> None:
    got = pixels(photograph(), 16)
    assert (got.shape, got.dtype) == ((3, 16, 16), np.uint8)

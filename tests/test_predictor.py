"""The Python interface: what a loaded model says about an image depends on nothing but the image and the settings."""

import io
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_vqa_tasks import classifier

from vlrnn.data.images import open_image
from vlrnn.data.records import Prediction
from vlrnn.errors import UserError
from vlrnn.inference.predictor import Predictor
from vlrnn.report.drawing import save_attention


@pytest.fixture(scope="module")
def predictor(checkpoints: Any) -> Predictor:
    return Predictor.load(checkpoints.folder, "cpu")


def checked(prediction: Prediction | UserError) -> Prediction:
    assert isinstance(prediction, Prediction)
    return prediction


def assert_same(one: Prediction, other: Prediction) -> None:
    """The same words, as likely as can be computed."""
    assert (one.text, one.tokens) == (other.text, other.tokens)
    assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
    assert one.score == pytest.approx(other.score, abs=1e-4)


def test_memorized_captions_are_generated(predictor: Predictor, photos: Path) -> None:
    captions = [predictor.caption(photos / f"{name}.png").text for name in "abc"]
    for caption, colour, place in zip(captions, ("red", "green", "blue"), ("left", "right", "top"), strict=True):
        assert colour in caption.split()
        assert place in caption.split()


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3, "num_return_sequences": 2}])
def test_an_image_alone_is_captioned_as_among_others(
    predictor: Predictor, photos: Path, settings: dict[str, Any]
) -> None:
    paths = sorted(photos.iterdir())
    alone = [predictor.caption(path, **settings) for path in paths]
    for size in (2, 3):
        together = [checked(each) for each in predictor.captions(paths, batch_size=size, **settings)]
        assert [each.id for each in together] == [str(path) for path in paths]
        for one, other in zip(alone, together, strict=True):
            assert_same(one, other)


def test_both_forms_of_a_checkpoint_give_the_same(predictor: Predictor, checkpoints: Any, photos: Path) -> None:
    other = Predictor.load(checkpoints.file, "cpu")
    for path in photos.iterdir():
        assert other.caption(path, num_beams=3) == predictor.caption(path, num_beams=3)


def odd_images(folder: Path) -> dict[str, Path]:
    """Images as strangers have them; where there is colour, it is on the left."""
    folder.mkdir()
    plain = Image.new("RGB", (32, 24), (10, 20, 30))
    plain.paste((220, 30, 30), (2, 4, 14, 16))
    transparent = plain.convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(plain.size))
    deep = Image.fromarray(np.linspace(0, 65535, 32 * 24).astype(np.uint16).reshape(24, 32))
    turned = Image.Exif()
    turned[0x0112] = 6
    images: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "plain.png": (plain, {}),
        "alpha.png": (transparent, {}),
        "palette.gif": (plain.quantize(8), {"transparency": 1}),
        "print.jpg": (plain.convert("CMYK"), {}),
        "deep.png": (deep, {}),
        "turned.png": (plain, {"exif": turned}),
        "grey.webp": (plain.convert("L"), {}),
        "bits.tif": (plain.convert("1"), {}),
    }
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
    return {name: folder / name for name in images}


def test_an_opened_image_is_captioned_as_its_file(predictor: Predictor, tmp_path: Path) -> None:
    for name, path in odd_images(tmp_path / "odd").items():
        with Image.open(path) as image:
            given = predictor.caption(image)
            assert given == predictor.caption(path), name
            assert given == predictor.caption(str(path)), name
        copy = predictor.caption(open_image(path))
        assert replace(copy, id=given.id, image_id=given.image_id) == given, name


def test_a_turned_photograph_is_read_upright(predictor: Predictor, tmp_path: Path) -> None:
    paths = odd_images(tmp_path / "odd")
    turned = open_image(paths["plain.png"]).transpose(Image.Transpose.ROTATE_270)
    expected = predictor.caption(turned)
    given = predictor.caption(paths["turned.png"])
    assert given.log_probs == expected.log_probs
    assert given.log_probs != predictor.caption(paths["plain.png"]).log_probs


def test_predictions_name_their_image(predictor: Predictor, photos: Path) -> None:
    strange = photos / os.fsdecode(b"caf\xe9.png")
    os.link(photos / "a.png", strange)
    images = [photos / "a.png", str(photos / "b.png"), Image.new("RGB", (9, 9)), Image.open(photos / "c.png"), strange]
    names = [checked(each).image_id for each in predictor.captions(images, batch_size=2)]
    expected = [photos / "a.png", photos / "b.png", "image 3", photos / "c.png", photos / "caf\ufffd.png"]
    assert names == [str(each) for each in expected]


def test_an_image_is_taken_in_any_form(predictor: Predictor, photos: Path) -> None:
    path = photos / "a.png"
    expected = predictor.caption(path)
    content, array = path.read_bytes(), np.asarray(open_image(path))
    with path.open("rb") as file:
        forms = {str(path): file, "image 1": content}
        for name, form in (*forms.items(), ("image 1", io.BytesIO(content)), ("image 1", array)):
            given = predictor.caption(form)
            assert given == replace(expected, id=name, image_id=name)
    weights = predictor.attention(array, expected.tokens)
    assert weights is not None
    names = [checked(each).id for each in predictor.captions([array, content, path], batch_size=2)]
    assert names == ["image 1", "image 2", str(path)]
    assert len(list(predictor.captions(np.stack([array, array])))) == 2


def test_what_is_no_image_is_refused_in_one_line(predictor: Predictor) -> None:
    closed = io.BytesIO()
    closed.close()
    bad: list[Any] = [
        torch.zeros(3, 32, 32, dtype=torch.uint8),
        np.zeros((3, 32, 32), np.uint8),
        np.zeros((32, 32, 3)),
        None,
        ["a.png"],
        b"text",
        "https://example.org/a.png",
        closed,
    ]
    for image in bad:
        with pytest.raises(UserError, match=r"give (a file|uint8)|known format|is not downloaded|closed file"):
            predictor.caption(image)
    printed = [str(each) for each in predictor.captions(bad[:3])]
    assert [line.partition(":")[0] for line in printed] == ["image 1", "image 2", "image 3"]


CONTENT = b"content"
ONE_IMAGE = ["a.png", Path("a.png"), io.BytesIO(), Image.new("RGB", (8, 8)), None]
ONE_IMAGE += [CONTENT, bytearray(CONTENT), memoryview(CONTENT)]


def test_one_image_in_place_of_many_is_refused_at_once(subtests: pytest.Subtests, predictor: Predictor) -> None:
    for one in ONE_IMAGE:
        with subtests.test(one=one):
            with pytest.raises(UserError, match="captions takes a list of images, not a"):
                predictor.captions(one)
            with pytest.raises(UserError, match="captions takes a list of images, not a ndarray"):
                predictor.captions(np.zeros((8, 8, 3), np.uint8))


def test_a_bad_image_stands_in_its_place(predictor: Predictor, photos: Path) -> None:
    whole = (photos / "a.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    cut = Image.open(photos / "cut.png")  # which reads no more than the header
    images = [photos / "a.png", photos / "cut.png", cut, photos / "absent.png", photos / "b.png"]
    results = list(predictor.captions(images, batch_size=4))
    assert [isinstance(each, UserError) for each in results] == [False, True, True, True, False]
    for result, name in zip(results[1:4], ("cut.png", "cut.png", "absent.png"), strict=True):
        assert name in str(result)
        assert "\n" not in str(result)
    for bad in images[1:4]:
        with pytest.raises(UserError):
            predictor.caption(bad)
        with pytest.raises(UserError):
            predictor.attention(bad, ["red"])


def test_images_are_read_when_they_are_needed(predictor: Predictor, photos: Path) -> None:
    """A folder may hold more than memory does."""
    taken = []

    def paths() -> Iterator[Path]:
        for path in sorted(photos.iterdir()):
            taken.append(path.name)
            yield path

    results = predictor.captions(paths(), batch_size=1)
    next(results)
    assert taken == ["a.png"]
    assert len(list(results)) == 2


def test_attention_is_shared_out_over_the_regions(predictor: Predictor, photos: Path) -> None:
    prediction = predictor.caption(photos / "a.png", num_beams=3)
    weights = predictor.attention(photos / "a.png", prediction.tokens)
    assert weights is not None
    assert weights.shape == (len(prediction.tokens) + 1, predictor.task.encoder.num_regions)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    with Image.open(photos / "a.png") as image:
        np.testing.assert_array_equal(predictor.attention(image, prediction.tokens), weights)


def test_a_decoder_without_attention_has_none_to_show(checkpoints: Any, photos: Path) -> None:
    plain = Predictor.load(checkpoints.plain, "cpu")
    prediction = plain.caption(photos / "a.png")
    assert plain.attention(photos / "a.png", prediction.tokens) is None


def test_features_are_the_regions_of_the_encoder(predictor: Predictor, photos: Path) -> None:
    paths = sorted(photos.iterdir())
    features = predictor.features(paths)
    assert features.shape == (3, predictor.task.encoder.num_regions, predictor.task.encoder.feature_dim)
    torch.testing.assert_close(predictor.features(paths[1:2])[0], features[1], atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match="at least one image"):
        predictor.features([])


def test_a_call_takes_what_the_task_accepts(predictor: Predictor, photos: Path) -> None:
    assert predictor(photos / "a.png", num_beams=2) == predictor.caption(photos / "a.png", num_beams=2)
    with pytest.raises(UserError, match="takes image, 1 in all, not 2"):
        predictor(photos / "a.png", "what is it")
    answering = Predictor(classifier(), "cpu")
    assert answering(photos / "a.png", "what is it") == answering.answer(photos / "a.png", "what is it")
    with pytest.raises(UserError, match="takes image and question, 2 in all, not 1"):
        answering(photos / "a.png")


# Settings.


def test_drawing_is_repeated_by_its_seed(predictor: Predictor, photos: Path) -> None:
    def draw(seed: int) -> list[str]:
        drawn = predictor.captions(sorted(photos.iterdir()), seed=seed, temperature=5.0)
        return [checked(each).text for each in drawn]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_settings_change_one_call_alone(predictor: Predictor, photos: Path) -> None:
    own = asdict(predictor.task.generation)
    changed = predictor.caption(photos / "a.png", num_beams=4, length_penalty=0.5)
    assert changed.settings == {**own, "num_beams": 4, "length_penalty": 0.5}
    assert predictor.caption(photos / "a.png").settings == own


WRONG_SETTINGS = [
    ({"num_beams": "5"}, "num_beams must be a whole number from 1 to 1,000, not '5'"),
    ({"max_new_tokens": 10**9}, "max_new_tokens must be a whole number from 1 to 100,000, not 1000000000"),
    ({"early_stopping": "soon"}, "early_stopping must be true, false or \"never\", not 'soon'"),
    *(({"seed": seed}, "seed must be a whole number from 0 ") for seed in ("1", 1.5, None, True, -1, 2**63)),
]


def test_settings_that_are_none_are_reported(subtests: pytest.Subtests, predictor: Predictor, photos: Path) -> None:
    for settings, message in WRONG_SETTINGS:
        with (
            subtests.test(settings=settings, message=message),
            pytest.raises(UserError, match=f"^{re.escape(message)}"),
        ):
            predictor.caption(photos / "a.png", **settings)


def test_who_requests_a_temperature_wants_no_beams(checkpoints: Any) -> None:
    predictor = Predictor.load(checkpoints.folder, "cpu")
    predictor.task.generation = replace(predictor.task.generation, num_beams=3)
    assert predictor.decoding().num_beams == 3
    assert predictor.decoding(temperature=1.0).num_beams == 1
    with pytest.raises(UserError, match="one of the two"):
        predictor.decoding(temperature=1.0, num_beams=3)


def test_mistakes_are_reported(predictor: Predictor, checkpoints: Any, photos: Path) -> None:
    with pytest.raises(UserError, match="num_return_sequences"):
        predictor.caption(photos / "a.png", num_return_sequences=2)
    for size in (0, "4", 2.5, None):
        with pytest.raises(UserError, match="batch_size must be a whole number from 1 "):
            predictor.captions([photos / "a.png"], batch_size=size)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="beams"):
        predictor.caption(photos / "a.png", beams=3)
    for device in ("nonsense", "cuda:99"):
        with pytest.raises(UserError, match=device) as error:
            Predictor.load(checkpoints.folder, device)
        assert "\n" not in str(error.value)


def test_batches_draw_by_themselves(predictor: Predictor, photos: Path) -> None:
    """So that work which is gone on with draws what it would have drawn."""
    paths = sorted(photos.iterdir()) * 2

    def draw(first: int, count: int) -> list[str]:
        drawn = predictor.captions(paths[first : first + count], batch_size=2, first=first, seed=1, temperature=5.0)
        return [checked(each).text for each in drawn]

    whole = draw(0, 6)
    assert [*draw(0, 2), *draw(2, 4)] == [*draw(0, 4), *draw(4, 2)] == whole
    assert whole[:3] != whole[3:]


# The picture of where a model looked.


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pdf", ".svg"])
def test_any_word_can_stand_in_a_picture(tmp_path: Path, suffix: str) -> None:
    words = ["$", "\\frac{", "$", "_^", "a", "<b>", "(end)"]
    weights = np.random.default_rng(0).dirichlet(np.ones(9), len(words))
    save_attention(tmp_path / f"looked{suffix}", Image.new("RGB", (30, 20)), words, weights)
    assert (tmp_path / f"looked{suffix}").stat().st_size > 1000


@pytest.mark.parametrize(("size", "taller"), [((40, 20), 0.6), ((20, 20), 1), ((20, 30), 1.4), ((2, 2000), 2)])
def test_photographs_keep_their_shape(tmp_path: Path, size: tuple[int, int], taller: float) -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(9), 6)
    save_attention(tmp_path / "attention.png", Image.new("RGB", size), list("abcdef"), weights)
    with Image.open(tmp_path / "attention.png") as picture:
        assert picture.height == pytest.approx(taller * 2 / 5 * picture.width, rel=0.15)


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "attention.docx", tmp_path / "file" / "attention.png"):
        with pytest.raises(UserError, match="cannot be written") as error:
            save_attention(path, Image.new("RGB", (8, 8)), ["a"], np.ones((1, 4)) / 4)
        assert str(tmp_path) in str(error.value)

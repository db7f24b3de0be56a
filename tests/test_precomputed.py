"""Precomputed regions: every form of file gives the same regions, boxes and masks; training, captions and answers
from them; and what is missing or damaged is told in a line."""

import base64
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_vqa_tasks import ANSWERS, VOCABULARY, parts
from torch.utils.data import DataLoader, Dataset

from vlrnn.cli import main
from vlrnn.config import from_config, to_config
from vlrnn.data import region_formats
from vlrnn.data.batches import Item, collate
from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.records import open_split
from vlrnn.data.region_files import RegionFiles
from vlrnn.errors import UserError
from vlrnn.inference.predictor import Predictor
from vlrnn.nn.encoders.base import Context, on_grid
from vlrnn.nn.encoders.precomputed import PrecomputedRegions, pack_regions
from vlrnn.tasks.classifier_vqa import ClassifierVQA

D, WIDE, HIGH = 6, 200.0, 100.0
IDS = [9, 391895, 30]
"""Of COCO: the names of their files are `COCO_val2014_000000000009.jpg` and so on."""
BOXES = np.array([[0, 0, 100, 50], [50, 25, 200, 100], [0, 0, 200, 100], [20, 10, 40, 20]], np.float32)


def made(counts: tuple[int, ...] = (2, 4, 3)) -> dict[int, dict[str, Any]]:
    """What a detector gives: features and boxes in pixels, of different numbers of regions."""
    rng = np.random.default_rng(0)
    return {
        id: {
            "x": rng.random((count, D), np.float32),
            "bbox": BOXES[:count],
            "num_bbox": count,
            "image_w": WIDE,
            "image_h": HIGH,
        }
        for id, count in zip(IDS, counts, strict=True)
    }


def table(files: dict[int, dict[str, Any]]) -> dict[str, np.ndarray]:
    """The same in arrays of all images, filled up."""
    fill = {id: 4 - len(each["x"]) for id, each in files.items()}
    columns = {"features": "x", "boxes": "bbox"}
    arrays = {
        name: np.stack([np.pad(each[key], [(0, fill[id]), (0, 0)]) for id, each in files.items()])
        for name, key in columns.items()
    }
    for name, key in {"num_boxes": "num_bbox", "image_w": "image_w", "image_h": "image_h"}.items():
        arrays[name] = np.array([each[key] for each in files.values()])
    return {"ids": np.array(list(files)), **arrays}


def folder_of_npz(folder: Path, files: dict[int, dict[str, Any]]) -> Path:
    (folder / "val2014").mkdir(parents=True)
    for id, arrays in files.items():
        np.savez_compressed(folder / "val2014" / f"COCO_val2014_{id:012}.npz", **arrays, info={"objects": [1]})
    return folder


def transposed(folder: Path, files: dict[int, dict[str, Any]]) -> Path:
    """As OpenVQA has them: [D, N], by the names of the images."""
    folder.mkdir()
    for id, arrays in files.items():
        np.savez(folder / f"COCO_val2014_{id:012}.jpg.npz", **{**arrays, "x": arrays["x"].T})
    return folder


def one_npz(folder: Path, files: dict[int, dict[str, Any]]) -> Path:
    folder.mkdir()
    np.savez(folder / "all.npz", **table(files))
    return folder / "all.npz"


def masked_npz(folder: Path, files: dict[int, dict[str, Any]]) -> Path:
    folder.mkdir()
    arrays = table(files)
    arrays["mask"] = np.arange(4) < arrays.pop("num_boxes")[:, None]
    arrays["boxes"] /= np.array([WIDE, HIGH] * 2, np.float32)
    del arrays["image_w"], arrays["image_h"]
    arrays["ids"] = np.array([f"COCO_val2014_{id:012}.jpg" for id in files])
    arrays["features"] = np.asfortranarray(arrays["features"])
    np.savez(folder / "all.npz", **arrays)
    return folder / "all.npz"


def one_h5(folder: Path, files: dict[int, dict[str, Any]]) -> Path:
    h5py = pytest.importorskip("h5py", reason="needs h5py, of the extra regions")
    folder.mkdir()
    with h5py.File(folder / "all.h5", "w") as file:
        for name, array in table(files).items():
            file[name] = array
    return folder / "all.h5"


def groups_h5(folder: Path, files: dict[int, dict[str, Any]]) -> Path:
    h5py = pytest.importorskip("h5py", reason="needs h5py, of the extra regions")
    folder.mkdir()
    with h5py.File(folder / "all.hdf5", "w") as file:
        for id, arrays in files.items():
            for name, array in arrays.items():
                file[f"{id}/{name}"] = array
    return folder / "all.hdf5"


def tsv_line(id: int, arrays: dict[str, Any]) -> str:
    encoded = [base64.b64encode(np.ascontiguousarray(arrays[key]).tobytes()).decode() for key in ("bbox", "x")]
    return "\t".join(map(str, [id, int(WIDE), int(HIGH), len(arrays["x"]), *encoded]))


def tsv(folder: Path, files: dict[int, dict[str, Any]]) -> Path:
    """In two parts, as those of train are."""
    folder.mkdir()
    first, *others = (tsv_line(id, arrays) for id, arrays in files.items())
    (folder / "trainval.tsv.0").write_text(first + "\n")
    (folder / "trainval.tsv.1").write_text("\n".join(others))
    return folder


FORMS = [folder_of_npz, transposed, one_npz, masked_npz, one_h5, groups_h5, tsv]
IMAGES = {f"val2014/COCO_val2014_{id:012}.jpg": id for id in IDS}


def test_every_form_gives_the_same(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Boxes are shares; by the image's id, its path or its file name; in this process and in others."""
    for form in FORMS:
        with subtests.test(form=form):
            tmp_path = tmp_path_factory.mktemp("case")
            files = made()
            stored = RegionFiles(str(form(tmp_path / "regions", files)), D, IMAGES, "val")
            for regions in (stored, pickle.loads(pickle.dumps(stored))):
                for image, id in IMAGES.items():
                    rows = regions[image]
                    assert rows.dtype == np.float32
                    np.testing.assert_array_equal(rows[:, :D], files[id]["x"])
                    np.testing.assert_allclose(rows[:, D:-1], files[id]["bbox"] / [WIDE, HIGH, WIDE, HIGH], rtol=1e-6)
                    assert (rows[:, -1] == 1).all()
            alone = RegionFiles(stored.path, D)
            np.testing.assert_array_equal(alone["anywhere/COCO_val2014_000000391895.jpg"][:, :D], files[391895]["x"])
            with pytest.raises(UserError, match=r"^photo.jpg: .* has no regions of an image of this name$"):
                alone["photo.jpg"]


def features_by_id(folder: Path) -> list[Path]:
    folder.mkdir()
    arrays = {str(id): each["x"] for id, each in made().items()}
    np.savez_compressed(folder / "all.npz", **arrays)
    h5py = pytest.importorskip("h5py", reason="needs h5py, of the extra regions")
    with h5py.File(folder / "all.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return [folder / "all.npz", folder / "all.h5"]


def test_arrays_by_image_id(tmp_path: Path) -> None:
    """Without boxes; a compressed one as well, for each array is read by itself."""
    for path in features_by_id(tmp_path / "regions"):
        stored = RegionFiles(str(path), D, IMAGES)
        for image, id in IMAGES.items():
            np.testing.assert_array_equal(stored[image], pack_regions(made()[id]["x"], None))


class Rows(Dataset[np.ndarray]):
    def __init__(self, stored: RegionFiles) -> None:
        self.stored = stored

    def __len__(self) -> int:
        return 60

    def __getitem__(self, number: int) -> np.ndarray:
        return self.stored[list(IMAGES)[number % 3]]


@pytest.mark.parametrize("form", [one_h5, one_npz, tsv, lambda *given: features_by_id(given[0])[0]])
def test_processes_read_the_same_file(form: Callable[..., Path], tmp_path: Path) -> None:
    """One that was opened before they were forked."""
    rows = Rows(RegionFiles(str(form(tmp_path / "regions", made())), D, IMAGES))
    read = list(DataLoader(rows, None, num_workers=2))
    for number, each in enumerate(read):
        np.testing.assert_array_equal(each, rows[number])


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_karpathys_features(version: str, tmp_path: Path) -> None:
    """One region for each image, in the columns of a matrix; the names stand in dataset.json."""
    feats = np.random.default_rng(0).random((D, 3), np.float32)
    path = tmp_path / "vgg_feats.mat"
    if version == "5":
        savemat = pytest.importorskip("scipy.io", reason="needs scipy, of the extra regions").savemat
        savemat(path, {"feats": feats}, do_compression=True)
    else:
        h5py = pytest.importorskip("h5py", reason="needs h5py, of the extra regions")
        with h5py.File(path, "w", userblock_size=512) as file:
            file["feats"] = feats.T
        with path.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file")
    with pytest.raises(UserError, match=r"Karpathy's dataset.json, which is not in its folder"):
        RegionFiles(str(path), D)
    listed = [{"filename": f"{name}.jpg", "cocoid": id} for name, id in zip("abc", IDS, strict=True)]
    (tmp_path / "dataset.json").write_text(json.dumps({"images": listed}))
    os.utime(path)
    stored = RegionFiles(str(path), D)
    for column, (name, id) in enumerate(zip("abc", IDS, strict=True)):
        np.testing.assert_array_equal(stored[f"images/{name}.jpg"], [[*feats[:, column], 1]])
        np.testing.assert_array_equal(stored[f"{id}.png"], [[*feats[:, column], 1]])
    (tmp_path / "dataset.json").write_text(json.dumps({"images": listed[:2]}))
    os.utime(path)
    with pytest.raises(UserError, match=r"has regions of 3 images, where .*dataset.json lists 2"):
        RegionFiles(str(path), D)


def test_grids_and_single_vectors(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", feat=np.arange(4.0 * D).reshape(2, 2, D))
    np.savez(tmp_path / "b.npz", feat=np.arange(D))
    stored = RegionFiles(str(tmp_path), D)
    np.testing.assert_array_equal(stored["a.png"], np.c_[np.arange(4.0 * D).reshape(4, D), np.ones(4)])
    assert stored["b.png"].shape == (1, D + 1)


def test_large_files_are_not_loaded(tmp_path: Path) -> None:
    """Rows of a `.npz` come from a memory map, and a `.tsv` is gone through once."""
    path = one_npz(tmp_path / "npz", made())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda file, name: np.array(IDS) if name == "ids" else 1 / 0)
        assert RegionFiles(str(path), D, IMAGES)[next(iter(IMAGES))].shape == (2, D + 5)
    lines = tsv(tmp_path / "tsv", made())
    RegionFiles(str(lines), D, IMAGES)
    region_formats._open.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(region_formats, "_index_lines", lambda path: 1 / 0)
        RegionFiles(str(lines), D, IMAGES)


# What is wrong.


def refused(path: Path, word: str, width: int = D, images: dict[str, int] | None = None) -> None:
    region_formats._open.cache_clear()
    images = IMAGES if images is None else images
    with pytest.raises(UserError, match=word) as error:
        list(map(RegionFiles(str(path), width, images, "val").__getitem__, images))
    assert "\n" not in str(error.value)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "not finite": (lambda each: {"x": np.full((4, D), np.nan, np.float32)}, "not all finite"),
    "other width": (
        lambda each: {"x": np.ones((4, D + 1), np.float32)},
        f"{D + 1} wide, not {D}; set encoder.feature_dim",
    ),
    "text": (lambda each: {"x": np.array([["a"] * D])}, "not numbers"),
    "too deep": (lambda each: {"x": np.ones((1, 1, 4, D), np.float32)}, "not numbers"),
    "objects": (lambda each: {"x": np.array([[None] * D] * 4, object)}, "allow_pickle=False|objects"),
    "negative": (lambda each: {"bbox": each["bbox"] - 20}, "a box is negative"),
    "turned": (lambda each: {"bbox": each["bbox"][:, ::-1]}, "a box"),
    "beyond": (lambda each: {"bbox": each["bbox"] * 2}, "a box lies outside of the image"),
    "no size": (lambda each: {"image_w": 0}, "image_w and image_h are 0 and 100"),
    "boxes of others": (lambda each: {"bbox": each["bbox"][:2]}, r"boxes are float32 \[2, 4\]"),
    "fewer": (lambda each: {"num_bbox": 5}, "has 4 regions, but num_boxes is 5"),
    "none": (lambda each: {"num_bbox": 0}, "has no region"),
}


def test_what_does_not_fit_is_named(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for change in CHANGES:
        with subtests.test(change=change):
            tmp_path = tmp_path_factory.mktemp("case")
            files = made()
            alter, word = CHANGES[change]
            files[391895] |= alter(files[391895])
            path = folder_of_npz(tmp_path / "regions", files)
            refused(path, f"regions: image COCO_val2014_000000391895: .*{word}|{word}")


def test_images_without_regions_are_counted(tmp_path: Path) -> None:
    path = folder_of_npz(tmp_path / "regions", made())
    refused(
        path,
        "has no regions of 2 of the 3 images of val, such as b.jpg",
        images={next(iter(IMAGES)): 9, "b.jpg": 2, "c.jpg": 3},
    )


def test_boxes_that_are_missing_are_named(tmp_path: Path) -> None:
    files = made()
    del files[391895]["bbox"]
    refused(folder_of_npz(tmp_path / "some", files), "COCO_val2014_000000391895: has no boxes, unlike the first image")
    files = made()
    for each in files.values():
        del each["image_w"]
    refused(folder_of_npz(tmp_path / "pixels", files), "a box is in pixels, and image_w and image_h are missing")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    for number, form in enumerate((one_npz, one_h5)):
        path = form(tmp_path / str(number), made())
        os.truncate(path, path.stat().st_size // 2)
        refused(path, f"^{path}: cannot be read, or is damaged")
        path.write_bytes(b"")
        refused(path, f"^{path}: cannot be read, or is damaged")
    path = folder_of_npz(tmp_path / "each", made()) / "val2014/COCO_val2014_000000391895.npz"
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)
    refused(tmp_path / "each", "COCO_val2014_000000391895: cannot be read, or is damaged")
    path = tsv(tmp_path / "lines", made()) / "trainval.tsv.1"
    os.truncate(path, path.stat().st_size - 7)
    refused(tmp_path / "lines", "image 30: cannot be read, or is damaged")
    os.truncate(path, path.stat().st_size - 95)
    refused(tmp_path / "lines", "a line has 5 columns")


def test_files_of_other_forms_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "absent.npz", "no such file")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no regions; the forms are")
    (tmp_path / "some.txt").write_text("text")
    refused(tmp_path / "some.txt", "holds no regions; the forms are")
    files = made()
    np.savez(tmp_path / "one.npz", **files[9])
    refused(tmp_path / "one.npz", "has no 'ids' of its images; of files of one image each, name the folder")
    np.savez_compressed(tmp_path / "packed.npz", **table(files))
    refused(
        tmp_path / "packed.npz", "is compressed, so that it cannot be read an image at a time; write it with np.savez"
    )
    np.savez(tmp_path / "objects.npz", ids=np.array(IDS), features=np.array([None] * 3, object))
    refused(tmp_path / "objects.npz", "holds Python objects, which are never read")
    np.savez(tmp_path / "twice.npz", ids=np.array([9, 9, 30]), features=table(files)["features"])
    refused(tmp_path / "twice.npz", "the id 9 occurs twice")
    np.savez(tmp_path / "other.npz", ids=np.array(IDS), scores=np.ones(3))
    refused(tmp_path / "other.npz", "it has none of features, feat, feats, x, but ids, scores")
    for folder in ("a", "b"):
        (tmp_path / "both" / folder).mkdir(parents=True)
        np.savez(tmp_path / "both" / folder / "9.npz", **files[9])
    refused(tmp_path / "both", "are of the image 9; keep one")


def test_an_extra_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = one_h5(tmp_path / "regions", made())
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    refused(path, r"to read .h5 needs h5py: pip install 'vlrnn\[regions\]'")


# The encoder.


def batch(stored: RegionFiles) -> torch.Tensor:
    items = [Item((), None, torch.from_numpy(stored[image]), []) for image in IMAGES]
    return collate(items).regions


def test_context_of_a_batch(tmp_path: Path) -> None:
    files = made()
    stored = RegionFiles(str(folder_of_npz(tmp_path / "regions", files)), D, IMAGES)
    encoder = PrecomputedRegions(stored.path, D)
    context = encoder.context(batch(stored))
    assert context.regions.shape == (3, 4, D)
    assert context.mask.sum(1).tolist() == [2, 4, 3]
    assert context.boxes.shape == (3, 4, 4)
    for row, id in enumerate(IDS):
        np.testing.assert_allclose(context.pooled[row], files[id]["x"].mean(0), rtol=1e-5)
    assert encoder.context(batch(stored)[..., [*range(D), -1]]).boxes is None
    assert encoder.frozen
    with pytest.raises(UserError, match="they cannot be computed from pixels"):
        encoder(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    again = from_config(json.loads(json.dumps(to_config(encoder))), PrecomputedRegions, "here")
    assert again.fingerprint() == encoder.fingerprint()
    with pytest.raises(UserError, match="feature_dim must be at least 1"):
        PrecomputedRegions("somewhere", 0)


def test_weights_of_boxes_are_drawn_on_a_grid() -> None:
    """The weight of a box lies within it, and those that fill up a batch draw nothing."""
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]])
    context = Context(torch.zeros(1, 3, 2), torch.tensor([[True, True, False]]), torch.zeros(1, 2), boxes)
    drawn = on_grid(torch.tensor([[[0.25, 0.75, 0.0]]]), context)
    cells = drawn.view(14, 14)
    assert drawn.shape == (1, 1, 196)
    torch.testing.assert_close(cells[:7, :7].sum(), torch.tensor(0.25))
    torch.testing.assert_close(cells[:, 7:].sum(), torch.tensor(0.75))
    assert not cells[7:, :7].any()
    assert on_grid(torch.ones(1, 1, 3), context._replace(boxes=None)) is None


# Training, and what comes after it.


def regions_of(data: Path, folder: Path) -> Path:
    """Regions of the small data set that tell its pictures apart, by the ids of their images."""
    folder.mkdir()
    for split in ("train", "val", "test"):
        for example in open_split(data, split):
            colour, place = example.image_id.split("-")
            code = [*(colour == each for each in ("red", "green", "blue", "white")), place == "left", place == "top"]
            count = 2 + (place == "left")
            arrays = {"features": np.tile(np.array(code, np.float16), (count, 1)), "boxes": BOXES[:count]}
            np.savez(folder / f"{example.image_id}.npz", **arrays, image_w=WIDE, image_h=HIGH)
    return folder


ENCODER = [
    "--model.init_args.encoder=vlrnn.nn.PrecomputedRegions",
    f"--model.init_args.encoder.init_args.feature_dim={D}",
]
ATTEND = [
    "--model.init_args.decoder=vlrnn.nn.ShowAttendTell",
    "--model.init_args.decoder.init_args.recurrence=vlrnn.nn.GRU",
    "--model.init_args.decoder.init_args.recurrence.init_args.hidden_size=8",
    "--model.init_args.decoder.init_args.attention=vlrnn.nn.SoftAttention",
    "--model.init_args.decoder.init_args.attention.init_args.attention_dim=8",
    "--model.init_args.decoder.init_args.embedding_dim=8",
]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_captioner_is_trained(
    num_workers: int,
    fit: Callable[..., int],
    small_recipe: Path,
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without an image being read: fit, test, caption, report; images are found by name, whose id is another."""
    regions = regions_of(dataset, tmp_path / "regions")
    flags = [
        *ENCODER,
        *ATTEND,
        f"--model.init_args.encoder.init_args.path={regions}",
        f"--data.num_workers={num_workers}",
    ]
    run = tmp_path / "run"
    flags.append("--data.image_root=/nowhere")
    assert fit(run, *flags) == 0
    recipe = ["--config", str(small_recipe), "--trainer.default_root_dir", str(run), *flags]
    assert main(["test", *recipe]) == 0
    checkpoint = str(run / "checkpoints/best.ckpt")
    assert main(["probe", "grounding", "--checkpoint", checkpoint, "--data", str(dataset), "--split", "train"]) == 0
    for each in regions.iterdir():
        each.rename(each.with_stem(each.stem.replace("-", "_")))  # as the image files are called
    image = str(dataset / "images/red_left.png")
    capsys.readouterr()
    picture = tmp_path / "attention.png"
    assert main(["caption", image, "--checkpoint", checkpoint, "--explain", str(picture)]) == 0
    assert picture.is_file()
    assert "red_left.png: " in capsys.readouterr().out
    (tmp_path / "other.png").write_bytes(Path(image).read_bytes())
    assert main(["caption", str(tmp_path / "other.png"), "--checkpoint", checkpoint]) == 2
    assert "has no regions of an image of this name" in capsys.readouterr().err
    assert main(["report", str(run), "--out", str(tmp_path / "report.html")]) == 0
    regions.rename(tmp_path / "moved")
    assert main(["caption", image, "--checkpoint", checkpoint]) == 2
    assert f"{regions}: no such file" in capsys.readouterr().err
    if not num_workers:
        elsewhere = [each.replace(str(regions), str(tmp_path / "moved")) for each in recipe]
        for each in (tmp_path / "moved").iterdir():
            each.rename(each.with_stem(each.stem.replace("_", "-")))
        assert main(["validate", *elsewhere]) == 0


def test_training_names_what_is_missing(
    fit: Callable[..., int], dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ahead of training, with the number; and a damaged file when it is read."""
    regions = regions_of(dataset, tmp_path / "regions")
    flags = [*ENCODER, f"--model.init_args.encoder.init_args.path={regions}"]
    first = next(iter(open_split(dataset, "train"))).image_id
    (regions / f"{first}.npz").write_bytes(b"damaged")
    for number in (0, 1):
        assert fit(tmp_path / "run", *flags, f"--data.num_workers={number}") == 2
        assert "cannot be read, or is damaged" in capsys.readouterr().err
    (regions / f"{first}.npz").unlink()
    assert fit(tmp_path / "run", *flags) == 2
    assert "has no regions of 1 of the 8 images of train" in capsys.readouterr().err


def test_questions_are_answered(tmp_path: Path) -> None:
    """About an image that is known by its name."""
    path = folder_of_npz(tmp_path / "regions", made())
    torch.manual_seed(0)
    task = ClassifierVQA(VOCABULARY, ANSWERS, **{**parts(), "encoder": PrecomputedRegions(str(path), D)})
    predictor = Predictor(task, "cpu")
    answer, other = predictor.answers("photos/COCO_val2014_000000391895.jpg", ["what color is it", "is it red"])
    assert answer.text in ANSWERS.answers
    assert predictor.answer("COCO_val2014_000000391895.png", "is it red").score == pytest.approx(other.score)
    with pytest.raises(UserError, match=r"^image 1: .* has no regions of an image of this name"):
        predictor.answer(np.zeros((4, 4, 3), np.uint8), "is it red")


def test_the_cache_is_the_files(dataset: Path, tmp_path: Path) -> None:
    """Nothing is written, whether or not a folder for encoder outputs is set."""
    encoder = PrecomputedRegions(str(regions_of(dataset, tmp_path / "regions")), D)
    for cache in (None, str(tmp_path / "cache")):
        stored = VisionLanguageData(str(dataset), cache=cache).make_cache(encoder, ["train", "val"])
        assert {split: len(each) for split, each in stored.items()} == {"train": 8, "val": 2}
    assert not (tmp_path / "cache").exists()

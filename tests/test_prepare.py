"""The scripts of data_prep, each run on a few files of the official format with their usual defects."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from data_scripts import SCRIPTS, Script, cut_short, make_images, write

from vlrnn.data.images import open_image
from vlrnn.data.records import describe_dataset, open_split


@pytest.fixture
def flickr8k(tmp_path: Path) -> Path:
    """With the stray key, an image in no list, a missing and a broken image, and an empty caption."""
    source = tmp_path / "flickr8k"
    make_images(source / "Flicker8k_Dataset", [f"{name}.jpg" for name in ("a", "b", "c", "broken", "unlisted")])
    cut_short(source / "Flicker8k_Dataset/broken.jpg")
    tokens = [
        "a.jpg#0\tA dog runs . ",
        "a.jpg#1\t ",
        "b.jpg#0\tTwo cats sleep .",
        "c.jpg#0\tA bird , on a wire .",
        "broken.jpg#0\tNobody sees this .",
        "missing.jpg#0\tNor this .",
        "unlisted.jpg#0\tIn no list .",
        "2258277193_586949ec62.jpg.1#0\tpeople waiting for the subway",
    ]
    write(source / "Flickr8k.token.txt", "\n".join(tokens) + "\n")
    write(source / "Flickr_8k.trainImages.txt", "b.jpg\na.jpg\nbroken.jpg\nmissing.jpg\n")
    write(source / "Flickr_8k.devImages.txt", "c.jpg\n")
    return source


def test_flickr8k(flickr8k: Path, script: Script) -> None:
    assert script.run("flickr8k", flickr8k) == 0
    train, val = script.split("train"), script.split("val")
    assert list(train) == ["b.jpg", "a.jpg"]
    assert train["a.jpg"].captions == ("A dog runs .",)
    assert train["a.jpg"].image_id == "a.jpg"
    assert val["c.jpg"].captions == ("A bird , on a wire .",)
    assert not (script.out / "test.jsonl").exists()
    assert script.dropped("known stray key", "2258277193_586949ec62.jpg.1")
    for reason, name in (
        ("missing image", "missing.jpg"),
        ("unreadable image", "broken.jpg"),
        ("caption of no word", "a.jpg"),
        ("no split list", "unlisted.jpg"),
    ):
        assert script.dropped(" 1: ", reason, name), script.printed
    assert script.dropped("broken.jpg: cannot be decoded: ")


def test_images_are_found_from_the_description(flickr8k: Path, script: Script) -> None:
    script.run("flickr8k", flickr8k)
    description = describe_dataset(script.out)
    assert Path(description["image_root"]).is_absolute()
    assert open_image(script.out / description["image_root"] / script.split("val")["c.jpg"].image).size == (
        16,
        12,
    )
    assert description["counts"]["train"] == {"examples": 2, "images": 2, "captions": 2}


def test_images_within_the_prepared_folder_stay_movable(tmp_path: Path, script: Script) -> None:
    make_images(script.out / "pictures", ["a.jpg"])
    captions = write(tmp_path / "captions.json", {"a.jpg": "A dog ."})
    assert script.run("folder", script.out / "pictures", "--captions", captions) == 0
    moved = script.out.rename(tmp_path / "moved")
    example = open_split(moved, "train")[0]
    assert open_image(moved / describe_dataset(moved)["image_root"] / example.image).size == (16, 12)


def test_flickr8k_refuses_an_image_in_two_splits(flickr8k: Path, script: Script) -> None:
    write(flickr8k / "Flickr_8k.testImages.txt", "c.jpg\n")
    error = script.refuses("flickr8k", flickr8k)
    assert "c.jpg" in error
    assert "two splits" in error


@pytest.mark.parametrize("line", ["no number", "a.jpg\tA dog .", "#0\tA dog ."])
def test_flickr8k_names_the_malformed_line(line: str, flickr8k: Path, script: Script) -> None:
    write(flickr8k / "Flickr8k.token.txt", f"a.jpg#0\tA dog .\n{line}\n")
    assert "Flickr8k.token.txt:2:" in script.refuses("flickr8k", flickr8k)


@pytest.mark.parametrize("gone", ["Flickr8k.token.txt", "Flickr_8k.*Images.txt", "Flicker8k_Dataset"])
def test_flickr8k_states_what_is_absent(gone: str, flickr8k: Path, script: Script, tmp_path: Path) -> None:
    for number, path in enumerate(flickr8k.glob(gone)):
        path.rename(tmp_path / f"gone{number}")
    assert str(flickr8k) in script.refuses("flickr8k", flickr8k)


def test_a_split_of_which_nothing_is_left_is_reported(flickr8k: Path, script: Script) -> None:
    write(flickr8k / "Flickr_8k.testImages.txt", "not_here.jpg\n")
    assert script.run("flickr8k", flickr8k) == 0
    assert "test: no examples" in script.printed
    assert not (script.out / "test.jsonl").exists()


def test_a_file_of_karpathy_is_not_replaced(flickr8k: Path, script: Script) -> None:
    file = write(script.out / "dataset.json", {"images": [], "dataset": "flickr8k"})
    assert "choose another --out" in script.refuses("flickr8k", flickr8k)
    assert json.loads(file.read_text())["dataset"] == "flickr8k"


def test_images_can_be_trusted(flickr8k: Path, script: Script) -> None:
    assert script.run("flickr8k", flickr8k, "--unchecked") == 0
    assert list(script.split("train")) == ["b.jpg", "a.jpg", "broken.jpg"]


def test_nothing_left_is_refused(flickr8k: Path, script: Script) -> None:
    for path in (flickr8k / "Flicker8k_Dataset").iterdir():
        path.unlink()
    script.refuses("flickr8k", flickr8k)


@pytest.mark.parametrize(("suffix", "gap"), [(".jpg", "\t"), ("", " ")])
def test_flickr30k(suffix: str, gap: str, tmp_path: Path, script: Script) -> None:
    source = tmp_path / "flickr30k"
    make_images(source / "flickr30k-images", ["1.jpg", "2.jpg", "3.jpg"])
    write(
        source / "results_20130124.token",
        "".join(f"{n}.jpg#{k}{gap}Caption {k} of {n} .\n" for n in (1, 2, 3) for k in (0, 1)),
    )
    for split, name in (("train", "1"), ("val", "2"), ("test", "3")):
        write(source / f"{split}.txt", f"{name}{suffix}\n")
    assert script.run("flickr30k", source) == 0
    assert script.split("train")["1.jpg"].captions == ("Caption 0 of 1 .", "Caption 1 of 1 .")
    assert [list(script.split(split)) for split in ("train", "val", "test")] == [
        ["1.jpg"],
        ["2.jpg"],
        ["3.jpg"],
    ]


def coco_files(folder: Path, part: str, ids: Sequence[int]) -> None:
    """Official annotation files: the first image has no captions, and only the second has objects."""
    make_images(folder / part, [f"{id:012}.jpg" for id in ids])
    images = [{"id": id, "file_name": f"{id:012}.jpg", "height": 12, "width": 16} for id in ids]
    captions = [
        {"id": 10 * id + k, "image_id": id, "caption": f" Caption {k} of {id}.\n"} for id in ids[1:] for k in (0, 1)
    ]
    annotated = [(ids[1], 18), (ids[1], 1), (ids[1], 18)]
    objects = [
        {"id": k, "image_id": image, "category_id": kind, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0}
        for k, (image, kind) in enumerate(annotated)
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    write(folder / f"annotations/captions_{part}.json", {"images": images, "annotations": captions})
    write(
        folder / f"annotations/instances_{part}.json",
        {"images": images, "annotations": objects, "categories": categories},
    )


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    source = tmp_path / "coco"
    coco_files(source, "train2017", [1, 2, 3])
    coco_files(source, "val2017", [7, 8, 9])
    cut_short(source / "val2017/000000000009.jpg")
    return source


def test_coco(coco: Path, script: Script) -> None:
    assert script.run("coco", coco) == 0
    train, val = script.split("train"), script.split("val")
    assert list(train) == [2, 3]
    assert list(val) == [8]
    assert train[2].captions == ("Caption 0 of 2.", "Caption 1 of 2.")
    assert train[2].objects == ("dog", "person")
    assert train[3].objects == ()
    root = script.out / describe_dataset(script.out)["image_root"]
    assert open_image(root / train[2].image).size == (16, 12)
    assert script.dropped(" 2: ", "without a caption", "000000000001.jpg", "000000000007.jpg")
    assert script.dropped("unreadable image", "000000000009.jpg")
    assert "index created" not in script.printed


def test_coco_without_instances(coco: Path, script: Script) -> None:
    for path in coco.glob("annotations/instances_*"):
        path.unlink()
    assert script.run("coco", coco) == 0
    assert script.split("train")[2].objects is None


def test_coco_with_the_split_named(coco: Path, script: Script) -> None:
    captions = (coco / "annotations/captions_val2017.json").rename(coco / "annotations/captions_mine.json")
    assert "--split" in script.refuses("coco", coco, "--captions", captions)
    images = (coco / "val2017").rename(coco / "mine")
    assert script.run("coco", coco, "--captions", captions, "--split", "test") == 0
    assert script.split("test")[8].image == f"{images.name}/000000000008.jpg"
    assert list(script.split("test")) == [8]


def test_coco_refuses_an_image_in_two_splits(coco: Path, script: Script) -> None:
    coco_files(coco, "val2017", [2, 3])
    assert "two splits" in script.refuses("coco", coco)


MALFORMED_COCO = [
    ('{"images": [],\n "annotations": [}', "captions_val2017.json:2"),
    ("[]", "captions_val2017.json"),
    ({"images": [{"id": 1, "file_name": "a.jpg"}]}, "annotations"),
    ({"images": [{"id": 1}], "annotations": []}, "images[0]"),
    ({"images": [], "annotations": [{"id": 1, "image_id": 1}]}, "annotations[0]"),
]


def test_coco_names_what_is_malformed(subtests: pytest.Subtests, coco: Path, script: Script) -> None:
    for contents, message in MALFORMED_COCO:
        with subtests.test(contents=contents, message=message):
            write(coco / "annotations/captions_val2017.json", contents)
            assert message in script.refuses("coco", coco)


def test_coco_refuses_an_object_of_no_category(coco: Path, script: Script) -> None:
    path = coco / "annotations/instances_val2017.json"
    write(path, {**json.loads(path.read_text()), "categories": [{"id": 1, "name": "person"}]})
    assert "no category 18" in script.refuses("coco", coco)


def karpathy(*images: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "dataset": "coco",
        "images": [
            {"filename": name, "split": split, "sentences": [{"raw": f"About {name} "}], **more}
            for name, split, more in images
        ],
    }


def test_karpathy_splits_of_coco(tmp_path: Path, script: Script) -> None:
    make_images(tmp_path / "coco", ["train2014/1.jpg", "val2014/2.jpg", "val2014/3.jpg", "val2014/4.jpg"])
    contents = karpathy(
        ("1.jpg", "train", {"filepath": "train2014", "cocoid": 1}),
        ("2.jpg", "restval", {"filepath": "val2014", "cocoid": 2}),
        ("3.jpg", "val", {"filepath": "val2014", "cocoid": 3}),
        ("4.jpg", "test", {"filepath": "val2014", "cocoid": 4}),
        ("5.jpg", "test", {"filepath": "val2014", "cocoid": 5}),
    )
    file = write(tmp_path / "dataset_coco.json", contents)
    assert script.run("coco", tmp_path / "coco", "--karpathy", file) == 0
    assert [list(script.split(split)) for split in ("train", "val", "test")] == [[1, 2], [3], [4]]
    assert script.split("train")[2].image == "val2014/2.jpg"
    assert script.split("train")[2].captions == ("About 2.jpg",)
    assert script.dropped("missing image", "val2014/5.jpg")


def test_karpathy_splits_of_flickr(tmp_path: Path, script: Script) -> None:
    make_images(tmp_path / "images", ["a.jpg", "b.jpg"])
    contents = {**karpathy(("a.jpg", "train", {}), ("b.jpg", "val", {})), "dataset": "flickr8k"}
    file = write(tmp_path / "dataset_flickr8k.json", contents)
    assert script.run("coco", tmp_path / "images", "--karpathy", file) == 0
    assert list(script.split("train")) == ["a.jpg"]
    assert list(script.split("val")) == ["b.jpg"]
    assert "flickr8k" in describe_dataset(script.out)["name"]
    assert "CC BY" not in describe_dataset(script.out)["licence"]


MALFORMED_KARPATHY = [
    ({"dataset": "coco"}, "images"),
    (karpathy(("a.jpg", "elsewhere", {})), "elsewhere"),
    ({"images": [{"split": "train", "filename": "a.jpg"}]}, "sentences"),
]


def test_karpathy_names_what_is_malformed(
    subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    for contents, message in MALFORMED_KARPATHY:
        with subtests.test(contents=contents, message=message):
            tmp_path = tmp_path_factory.mktemp("case")
            make_images(tmp_path / "images", ["a.jpg"])
            error = script.refuses(
                "coco", tmp_path / "images", "--karpathy", write(tmp_path / "dataset_x.json", contents)
            )
            assert "dataset_x.json" in error
            assert message in error


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    make_images(tmp_path / "pictures", [f"{number:02}.png" for number in range(19)] + ["deep/19.png"])
    return tmp_path / "pictures"


NAMES = [f"{number:02}.png" for number in range(19)] + ["deep/19.png"]


def test_folder_with_csv_and_splits(pictures: Path, tmp_path: Path, script: Script) -> None:
    captions = write(
        tmp_path / "captions.csv",
        'image,caption,split\n00.png,"A dog, running.",train\n00.png, A dog. ,train\n'
        "deep/19.png,A cat.,val\n02.png, ,test\nnone.png,Gone.,test\n03.png,A bird.,test\n",
    )
    assert script.run("folder", pictures, "--captions", captions) == 0
    assert script.split("train")["00.png"].captions == ("A dog, running.", "A dog.")
    assert list(script.split("val")) == ["deep/19.png"]
    assert list(script.split("test")) == ["03.png"]
    assert script.dropped("caption of no word", "02.png")
    assert script.dropped("missing image", "none.png")
    assert script.dropped(" 17: ", "01.png")


@pytest.mark.parametrize(
    "contents",
    [
        {name: [f"About {name}", "A picture"] for name in NAMES},
        [{"image": name, "captions": [f"About {name}", "A picture"]} for name in NAMES],
        [{"image": name, "caption": caption} for name in NAMES for caption in (f"About {name}", "A picture")],
    ],
)
def test_folder_with_json_is_split_by_chance_and_seed(
    contents: Any, pictures: Path, tmp_path: Path, script: Script
) -> None:
    file = write(tmp_path / "captions.json", contents)

    def splits(*arguments: Any) -> list[list[Any]]:
        assert script.run("folder", pictures, "--captions", file, *arguments) == 0
        return [sorted(script.split(name)) for name in ("train", "val", "test")]

    drawn = splits()
    assert [len(split) for split in drawn] == [16, 2, 2]
    assert sorted(name for split in drawn for name in split) == NAMES
    assert script.split("train")[drawn[0][0]].captions == (f"About {drawn[0][0]}", "A picture")
    assert splits() == drawn
    assert splits("--seed", 1) != drawn


MALFORMED_FOLDERS = [
    ("c.csv", "image,words\n00.png,A dog\n", "c.csv:1: "),
    ("c.csv", "image,caption\n00.png,A dog\n01.png,A dog, running\n", "c.csv:3: "),
    ("c.csv", 'image,caption\n00.png,"A dog\n', "c.csv:"),
    ("c.csv", "image,caption,split\n00.png,A dog,nowhere\n", "c.csv:2: "),
    ("c.csv", "image,caption,split\n00.png,A dog,train\n00.png,A dog,val\n", "two splits"),
    ("c.csv", "image,caption,split\n00.png,A dog,train\n./00.png,A dog,val\n", "two splits"),
    ("c.csv", "image,caption\n../pictures/00.png,A dog\n", "c.csv:2: "),
    ("c.csv", "image,caption,split\n00.png,A dog,train\n01.png,A dog,\n", "01.png"),
    ("c.json", '{"00.png":\n "A dog",}', "c.json:2: "),
    ("c.json", [{"image": "00.png"}], "c.json"),
    ("c.json", "7", "c.json"),
]


def test_folder_names_what_is_malformed(
    subtests: pytest.Subtests, pictures: Path, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    for name, contents, message in MALFORMED_FOLDERS:
        with subtests.test(name=name, contents=contents, message=message):
            tmp_path = tmp_path_factory.mktemp("case")
            assert message in script.refuses("folder", pictures, "--captions", write(tmp_path / name, contents))


@pytest.mark.parametrize("shares", ["0.5,0.5", "0.9,0.9,-0.8", "nan,0.5,0.5", "1,1,1"])
def test_folder_refuses_shares_that_make_no_whole(shares: str, pictures: Path, tmp_path: Path, script: Script) -> None:
    captions = write(tmp_path / "c.json", {"00.png": "A dog"})
    assert "shares" in script.refuses("folder", pictures, "--captions", captions, "--shares", shares)


def test_run_as_a_program(flickr8k: Path, tmp_path: Path) -> None:
    def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPTS / "flickr8k.py"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    done = run(flickr8k, "--out", "prepared")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "prepared/train.jsonl").exists()
    failed = run(tmp_path / "nowhere", "--out", "other")
    assert failed.returncode == 2
    assert "nowhere" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.slow
def test_real_flickr8k(real_data: Path, script: Script) -> None:
    assert script.run("flickr8k", real_data / "flickr8k") == 0
    counts = describe_dataset(script.out)["counts"]
    assert counts["train"] == {"examples": 6000, "images": 6000, "captions": 30000}
    assert counts["val"] == {"examples": 1000, "images": 1000, "captions": 5000}
    assert script.dropped(" 1: ", "known stray key")


def test_real_coco(real_data: Path, script: Script) -> None:
    assert script.run("coco", real_data / "coco_mini") == 0
    assert describe_dataset(script.out)["counts"] == {"val": {"examples": 79, "images": 79, "captions": 395}}
    assert "pizza" in {name for example in script.split("val").values() for name in example.objects or ()}

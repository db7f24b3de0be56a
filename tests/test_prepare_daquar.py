"""DAQUAR from its raw files, with the usual defects: sets, dev split, folds."""

from pathlib import Path
from typing import Any

import pytest
from data_scripts import Script, make_images, write

from vlrnn.data.formats.vqa import plain_question, question_type
from vlrnn.data.records import Example, describe_dataset, open_split


@pytest.fixture
def daquar(tmp_path: Path) -> Path:
    """Twenty images with two questions each, and one that no question is about."""
    source = tmp_path / "daquar"
    make_images(source / "images", [f"image{number}.png" for number in range(1, 21)])
    lines = [
        f"{question} in the image{number} ?\n{answer}\n"
        for number in range(1, 21)
        for question, answer in (
            ("how many chairs are there", "2"),
            ("what is on the desk", "tape,paper_Scissor , book"),
        )
    ]
    write(source / "qa.train.txt", "".join(lines))
    write(source / "train_images.txt", "".join(f"image{number}\n" for number in [*range(1, 21), 77]))
    return source


def test_daquar(daquar: Path, script: Script) -> None:
    assert script.run("daquar", daquar) == 0
    train, val = script.split("train"), script.split("val")
    assert "image without a question (image77)" in script.printed
    assert len(script.images("val")) == 2
    assert len(script.images("train")) == 18
    assert not script.images("train") & script.images("val")
    assert (train | val)["train-2"] == Example(
        id="train-2",
        image_id="image1",
        image="image1.png",
        question="what is on the desk?",
        answers=("book, paper scissor, tape",),
        question_type="object",
    )
    assert (train | val)["train-1"].question_type == "number"
    assert not (script.out / "test.jsonl").exists()


def test_daquar_drops_what_is_broken(daquar: Path, script: Script) -> None:
    (daquar / "images/image3.png").unlink()
    with (daquar / "qa.train.txt").open("a") as file:
        file.write("what is it in the image99 ?\nlamp\n in the image1 ?\nlamp\nwhat is it in the image2 ?\n , \n\n")
    assert script.run("daquar", daquar) == 0
    for reason, name in (
        ("missing image", "image3.jpg"),
        ("question about an image that is not in", "line 81"),
        ("question of no word", "train-42"),
        ("question without an answer", "train-43"),
    ):
        assert script.dropped(" 1: ", reason, name), script.printed


def test_daquar_with_its_test(daquar: Path, script: Script) -> None:
    make_images(daquar / "images", ["image50.png"])
    write(daquar / "qa.test.txt", "what colour is the wall in the image50 ?\nred\n")
    assert script.run("daquar", daquar, "--dev", 5) == 0
    assert len(script.images("val")) == 5
    assert script.split("test")["test-1"].question_type == "color"
    write(daquar / "qa.test.txt", "what colour is the wall in the image1 ?\nred\n")
    assert script.run("daquar", daquar) == 2
    assert "two splits" in script.error


def test_daquar_val_is_drawn_by_seed(daquar: Path, script: Script) -> None:
    def val(*arguments: Any) -> set[Any]:
        assert script.run("daquar", daquar, "--dev", 0.25, *arguments) == 0
        return script.images("val")

    drawn = val()
    assert len(drawn) == 5
    assert val() == drawn
    assert val("--seed", 1) != drawn


def test_daquar_folds_cover_every_image_once(daquar: Path, script: Script) -> None:
    tested: list[Any] = []
    for fold in range(1, 6):
        assert script.run("daquar", daquar, "--folds", 5, "--fold", fold) == 0
        parts = [script.images(split) for split in ("train", "val", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 20
        assert len(script.split("test")) == 2 * len(parts[2])
        tested += parts[2]
    assert len(tested) == len(set(tested)) == 20
    assert describe_dataset(script.out)["fold"] == 5


IMPOSSIBLE_SPLITS = [
    (["--folds", 5], "--fold go together"),
    (["--folds", 5, "--fold", 6], "--fold 6"),
    (["--folds", 1, "--fold", 1], "--folds 1"),
    (["--dev", 100], "--dev 100"),
    (["--dev", 2.5], "--dev 2.5"),
    (["--dev", -1], "--dev -1"),
    (["--dev", "nan"], "--dev nan"),
]


def test_daquar_refuses_splits_that_cannot_be(subtests: pytest.Subtests, daquar: Path, script: Script) -> None:
    for arguments, message in IMPOSSIBLE_SPLITS:
        with subtests.test(arguments=arguments, message=message):
            assert message in script.refuses("daquar", daquar, *arguments)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("what is it in the image1 ?\nlamp\nwhat is that ?\ndesk\n", "qa.train.txt:3: "),
        ("what is it in the image1 ?\nwhat is that in the image1 ?\ndesk\n", "qa.train.txt:2: "),
        ("what is it in the image1 ?\nlamp\nwhat is that in the image1 ?\n", "qa.train.txt:3: "),
    ],
)
def test_daquar_names_the_malformed_line(contents: str, message: str, daquar: Path, script: Script) -> None:
    write(daquar / "qa.train.txt", contents)
    assert message in script.refuses("daquar", daquar)


QUESTIONS = [
    ("how many chairs are there on the image888 ?", "how many chairs are there?", "number"),
    ("what is the object in the image9 close to the wall in the image9 ?", None, "object"),
    ("what is on the left side of the image92 ?", "what is on the left side of the image?", "object"),
    ("what is on the table image108 ?", "what is on the table?", "object"),
    ("what are the colours of the wall in this image3?", "what are the colours of the wall?", "color"),
    ("what is the colorful thing in image3 ?", "what is the colorful thing?", "object"),
]


def test_daquar_questions_lose_the_name_of_their_image(subtests: pytest.Subtests) -> None:
    for raw, plain, kind in QUESTIONS:
        with subtests.test(raw=raw, plain=plain, kind=kind):
            assert plain_question(raw) == (plain or "what is the object close to the wall?")
            assert question_type(plain_question(raw)) == kind


def test_real_daquar(real_data: Path, script: Script) -> None:
    assert script.run("daquar", real_data / "daquar", "--unchecked") == 0
    counts = describe_dataset(script.out)["counts"]
    assert counts["train"]["questions"] + counts["val"]["questions"] == 6795
    assert counts["train"]["images"] + counts["val"]["images"] == 794
    assert script.dropped(" 1: ", "image without a question", "image366")
    questions = [example.question or "" for split in ("train", "val") for example in open_split(script.out, split)]
    assert not any(character.isdigit() for text in questions for character in text.partition("image")[2])
